"""Networks: teachers, students, assistants, their weights and where those come from."""
