"""`gradcore.utils.data` behaves as `torch.utils.data`."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

import gradcore
from gradcore.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
    default_convert,
    random_split,
)

Point = namedtuple("Point", ["x", "y"])


def plain(value):
    """Tensors of either library as (dtype, values), in the containers they came in."""
    if hasattr(value, "tolist") and not isinstance(value, np.ndarray):
        return str(value.dtype).split(".")[-1], value.tolist()
    if isinstance(value, dict):
        return type(value), {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [plain(item) for item in value]
    return value


def table(n: int = 10) -> TensorDataset:
    return TensorDataset(gradcore.arange(2 * n).reshape(n, 2), gradcore.arange(n) * 10)


class Rows(Dataset):
    """A dataset that no fast path knows, with the samples of `table`."""

    def __init__(self, n: int = 10):
        self.table = table(n)

    def __getitem__(self, index):
        return self.table[index]

    def __len__(self):
        return len(self.table)


class Stream(IterableDataset):
    def __init__(self, n: int):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self):
        return self.n


# -- datasets


def test_tensor_dataset():
    dataset = table()
    assert len(dataset) == 10
    x, y = dataset[-1]
    assert x.tolist() == [18, 19] and y.item() == 90
    assert dataset[2:4][1].tolist() == [20, 30]
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors: .* \[10, 9\]"):
        TensorDataset(gradcore.zeros(10), gradcore.zeros(9))
    with pytest.raises(NotImplementedError, match="should implement __getitem__"):
        Dataset()[0]


def test_subset():
    subset = Subset(table(), [7, 1, 3])
    assert len(subset) == 3
    assert [subset[i][1].item() for i in range(3)] == [70, 10, 30]
    assert subset[[0, 2]][1].tolist() == [70, 30]
    nested = Subset(subset, [2, 0])
    assert nested[0][1].item() == 30


@pytest.mark.parametrize("lengths, sizes", [([3, 7], [3, 7]), ([0.35, 0.65], [4, 6]), ([0.33, 0.33, 0.34], [4, 3, 3])])
def test_random_split_covers_the_dataset(lengths, sizes):
    parts = random_split(range(10), lengths, generator=gradcore.Generator().manual_seed(1))
    assert [len(part) for part in parts] == sizes
    assert sorted(part[i] for part in parts for i in range(len(part))) == list(range(10))
    again = random_split(range(10), lengths, generator=gradcore.Generator().manual_seed(1))
    assert [part.indices for part in again] == [part.indices for part in parts]


def test_random_split_refuses_wrong_lengths():
    with pytest.raises(ValueError, match=r"Sum of input lengths does not equal .* add up to 5, .* 10 samples"):
        random_split(range(10), [2, 3])
    with pytest.raises(ValueError, match="Sum of input lengths"):
        random_split(range(10), [0.5, 0.4])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1"):
        random_split(range(10), [-0.5, 1.5])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split(range(3), [0.99, 0.01])


# -- samplers


def test_samplers():
    assert list(SequentialSampler(range(4))) == [0, 1, 2, 3]
    assert sorted(RandomSampler(range(50))) == list(range(50))
    assert sorted(SubsetRandomSampler([5, 8, 2])) == [2, 5, 8]
    assert len(RandomSampler(range(5))) == 5
    with pytest.raises(NotImplementedError, match="Sampler should implement __iter__"):
        iter(Sampler())


def test_random_sampler_draws_whole_permutations_then_a_part():
    drawn = list(RandomSampler(range(6), num_samples=15))
    assert len(drawn) == 15
    assert sorted(drawn[:6]) == sorted(drawn[6:12]) == list(range(6))
    assert len(set(drawn[12:])) == 3


def test_random_sampler_with_replacement():
    sampler = RandomSampler(range(3), replacement=True, num_samples=100)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 100
    assert set(drawn) == {0, 1, 2}


def test_random_sampler_refuses():
    with pytest.raises(ValueError, match="num_samples should be a positive integer value, but got num_samples=0"):
        RandomSampler([])
    with pytest.raises(TypeError, match="replacement should be a boolean value, but got replacement=1"):
        RandomSampler(range(3), replacement=1)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", [0, 1, 5, 6, 7])
def test_batch_sampler(n, drop_last):
    sampler = BatchSampler(range(n), 3, drop_last)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    assert sum(batches, []) == list(range(n - n % 3 if drop_last else n))
    assert all(len(batch) == 3 for batch in (batches if drop_last else batches[:-1]))


# -- collation


COLLATE = {
    "int": [1, 2, 3],
    "float": [0.5, 1.5],
    "bool": [True, False],
    "numpy scalar": [np.float32(1), np.float32(2)],
    "numpy bool": [np.bool_(True), np.bool_(False)],
    "numpy int": [np.int16(1), np.int16(2)],
    "numpy": [np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)],
    "numpy 0-d": [np.array(1), np.array(2)],
    "str": ["a", "b"],
    "bytes": [b"a", b"b"],
    "tuple": [(1, 2.0), (3, 4.0)],
    "list": [[1, 2.0], [3, 4.0]],
    "named tuple": [Point(1, 2), Point(3, 4)],
    "dict": [{"a": 1, "b": [1.0]}, {"a": 2, "b": [2.0]}],
    "ordered": [OrderedDict(z=1, a=2), OrderedDict(z=3, a=4)],
    "defaultdict": [defaultdict(list, {"a": 1}), defaultdict(list, {"a": 2})],
    "range": [range(2), range(2, 4)],
    "nested": [{"p": Point((1, "x"), [True])}, {"p": Point((2, "y"), [False])}],
}


@pytest.mark.parametrize("name", COLLATE)
def test_collate_and_convert_as_pytorch(name):
    torch_data = pytest.importorskip("torch.utils.data", reason="PyTorch is the reference for collation")
    assert plain(default_collate(COLLATE[name])) == plain(torch_data.default_collate(COLLATE[name]))
    assert plain(default_convert(COLLATE[name])) == plain(torch_data.default_convert(COLLATE[name]))


def test_collate_keeps_the_state_of_a_mapping():
    assert default_collate(COLLATE["defaultdict"]).default_factory is list
    assert COLLATE["defaultdict"][0]["a"] == 1


def test_collate_tensors_and_their_gradient():
    w = gradcore.ones(2, requires_grad=True)
    batch = default_collate([w, 2 * w])
    assert batch.tolist() == [[1, 1], [2, 2]]
    batch.sum().backward()
    assert w.grad.tolist() == [3, 3]


@pytest.mark.parametrize("sample, found", [(None, "NoneType"), (np.array(["a"]), "<U1"), ({1, 2}, "set")])
def test_collate_refuses(sample, found):
    with pytest.raises(TypeError, match=f"default_collate: batch must contain tensors, numpy arrays, .*{found}"):
        default_collate([sample])


def test_collate_refuses_unequal_lengths():
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        default_collate([[1, 2], [3]])


# -- the loader


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 10, 20])
@pytest.mark.parametrize("shuffle", [False, True])
def test_whole_batches_equal_collated_samples(batch_size, shuffle, drop_last):
    def batches(dataset):
        generator = gradcore.Generator().manual_seed(5)
        loader = DataLoader(dataset, batch_size, shuffle=shuffle, drop_last=drop_last, generator=generator)
        result = [plain(batch) for batch in loader]
        assert len(result) == len(loader)
        return result

    assert batches(table()) == batches(Rows())
    indices = [9, 9, 0, -1, 4]
    assert batches(Subset(table(), indices)) == batches(Subset(Rows(), indices))
    assert batches(Subset(Subset(table(), indices), [4, 1])) == batches(Subset(Subset(Rows(), indices), [4, 1]))


def test_whole_batches_carry_gradients():
    w = gradcore.arange(4.0).requires_grad_()
    for (batch,) in DataLoader(TensorDataset(w * 2), batch_size=2, sampler=[3, 3, 1]):
        batch.sum().backward(retain_graph=True)
    assert w.grad.tolist() == [0, 2, 0, 4]


def test_a_subclass_that_transforms_its_samples_is_asked_for_each():
    class Negated(TensorDataset):
        def __getitem__(self, index):
            return tuple(-tensor for tensor in super().__getitem__(index))

    dataset = Negated(gradcore.arange(4))
    assert [batch[0].tolist() for batch in DataLoader(dataset, 2)] == [[0, -1], [-2, -3]]
    assert [batch[0].tolist() for batch in DataLoader(Subset(dataset, [3, 2]), 2)] == [[-3, -2]]


def test_index_out_of_range():
    with pytest.raises(IndexError):
        list(DataLoader(table(), sampler=[3, 10], batch_size=2))


def test_shuffling_follows_the_seed_and_changes_each_epoch():
    loader = DataLoader(table(100), batch_size=100, shuffle=True)

    def epochs():
        gradcore.manual_seed(3)
        return [y.tolist() for _ in range(2) for _, y in loader]

    first, second = epochs()
    assert first != second and sorted(first) == sorted(second) == [10 * i for i in range(100)]
    assert epochs() == [first, second]


def test_without_batches():
    samples = list(DataLoader([{"a": np.array(1.5)}, {"a": np.array(2.5)}], batch_size=None))
    assert [sample["a"].item() for sample in samples] == [1.5, 2.5]
    assert len(DataLoader(table(), batch_size=None)) == 10


def test_own_collate_function():
    loader = DataLoader(range(5), batch_size=2, collate_fn=lambda samples: sum(samples))
    assert list(loader) == [1, 5, 4]


def test_samplers_of_the_user():
    assert [b.tolist() for b in DataLoader(range(5), batch_size=2, sampler=[4, 2, 0])] == [[4, 2], [0]]
    loader = DataLoader(range(5), batch_sampler=[[1], [2, 3, 4]])
    assert [b.tolist() for b in loader] == [[1], [2, 3, 4]]
    assert len(loader) == 2 and loader.batch_size is None


def test_datasets_that_fetch_several_samples_at_once():
    class Squares(Dataset):
        def __getitems__(self, indices):
            return [i * i for i in indices]

        def __len__(self):
            return 4

    assert [b.tolist() for b in DataLoader(Squares(), batch_size=3)] == [[0, 1, 4], [9]]


def test_streams():
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    assert [len(DataLoader(Stream(5), 2)), len(DataLoader(Stream(5), 2, drop_last=True))] == [3, 2]
    for name, option in (("shuffle", True), ("sampler", [0]), ("batch_sampler", [[0]])):
        with pytest.raises(ValueError, match=f"expected unspecified {name} option, but got {name}="):
            DataLoader(Stream(3), **{name: option})


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"batch_size": True},
        {"drop_last": 1},
        {"batch_size": None, "drop_last": True},
        {"sampler": [1], "shuffle": True},
        {"batch_sampler": [[1]], "shuffle": True},
        {"batch_sampler": [[1]], "batch_size": 4},
        {"num_workers": -1},
        {"timeout": -1},
        {"persistent_workers": True},
        {"multiprocessing_context": "spawn"},
        {"multiprocessing_context": "spoon", "num_workers": 1},
        {"prefetch_factor": 2},
        {"prefetch_factor": -1, "num_workers": 1},
    ],
    ids=str,
)
def test_options_refused_as_by_pytorch(options):
    torch_data = pytest.importorskip("torch.utils.data", reason="PyTorch is the reference for these messages")
    with pytest.raises(ValueError) as expected:
        torch_data.DataLoader([1, 2, 3], **options)
    with pytest.raises(ValueError) as refused:
        DataLoader([1, 2, 3], **options)
    assert str(refused.value) == str(expected.value)
