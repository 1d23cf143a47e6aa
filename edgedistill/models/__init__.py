"""Teachers and students: any timm model, and torchvision's SqueezeNets as students."""
