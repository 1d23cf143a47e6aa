"""Blocks that come back when nothing rests on them any more."""

import os

import numpy as np
import torch

from edgedistill.training import shared_blocks
from edgedistill.training.shared_blocks import SharedBlocks


def test_a_block_is_free_again_when_all_that_rests_on_it_is_gone():
    blocks = SharedBlocks(2, (3, 4))
    first, second = blocks.taken(), blocks.taken()
    assert {first, second} == {0, 1}
    assert blocks.taken() is None
    tensor = torch.from_numpy(blocks.lent(first, 2)).permute(1, 0)
    part = tensor[1:]
    del tensor
    assert blocks.taken() is None, "a part of it is in use"
    del part
    assert blocks.taken() == first
    assert blocks.taken() is None


def test_a_child_fills_what_its_parent_reads():
    blocks = SharedBlocks(1, (2, 3))
    child = os.fork()
    if child == 0:
        blocks.block(0, 1)[:] = 7
        os._exit(0)
    os.waitpid(child, 0)
    np.testing.assert_array_equal(blocks.block(0, 2), [[7, 7, 7], [0, 0, 0]])


def test_no_more_than_the_memory_allows(monkeypatch):
    monkeypatch.setattr(shared_blocks, "MOST_BYTES", 40)
    blocks = SharedBlocks(9, (3, 4))
    assert [blocks.taken() for _ in range(4)] == [0, 1, 2, None]
