"""Train a small character-level GPT on text, and let it write.

The text is a file given by --text, or else the documentation of the language that comes with Python (the module
pydoc_data). With --compare the same model is made in PyTorch too, with the same weights, and both learn from the same
batches: their losses are printed side by side.

    python examples/train_gpt.py --device cuda --epochs 40 --out out
    python examples/train_gpt.py --compare --steps 50
"""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import common
import numpy as np

import gradcore as torch

CHARACTERS = "\n" + "".join(c for c in string.printable if c.isprintable())
CONTEXT = 64
STEPS = 50  # in an epoch
VALIDATION = 32  # windows of the validation text that are measured


def load_text(path: Path | None) -> str:
    if path is not None:
        return path.read_text(encoding="utf-8", errors="replace")
    from pydoc_data import topics

    return "\n\n".join(text for _, text in sorted(topics.topics.items()))


def encode(text: str) -> np.ndarray:
    """The text as numbers; characters that are not in `CHARACTERS` are question marks."""
    numbers = {c: i for i, c in enumerate(CHARACTERS)}
    return np.array([numbers.get(c, numbers["?"]) for c in text])


def make_model(library: Any, width: int = 64, heads: int = 4, layers: int = 2) -> Any:
    """The model in a library with PyTorch's names: gradcore, or PyTorch."""
    nn = library.nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            n, length, _ = x.shape
            q, k, v = self.inputs(x).reshape(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.output(y.transpose(1, 2).reshape(n, length, width))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = Attention()
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.characters, self.places = nn.Embedding(len(CHARACTERS), width), nn.Embedding(CONTEXT, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(CHARACTERS))
            for embedding in (self.characters, self.places):
                nn.init.normal_(embedding.weight, std=0.02)

        def forward(self, x: Any) -> Any:
            x = self.characters(x) + self.places.weight[: x.shape[1]]
            return self.head(self.norm(self.blocks(x)))

    return GPT()


def windows(text: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the text that begin at `starts`, and for each of their characters the next one."""
    at = starts[:, None] + np.arange(CONTEXT)
    return text[at], text[at + 1]


def batch(text: np.ndarray, size: int, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The batch of a step, the same in every run and library."""
    return windows(text, np.random.default_rng((seed, step)).integers(len(text) - CONTEXT, size=size))


def loss_of(library: Any, model: Any, x: Any, y: Any) -> Any:
    return library.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())


def make_optimizer(library: Any, model: Any, lr: float) -> Any:
    return library.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1)


@torch.no_grad()
def write(model: Any, start: str, length: int, device: Any) -> str:
    """What the model writes after `start`, character by character as likely as it finds them."""
    model.eval()
    found = encode(start).tolist()
    for _ in range(length):
        seen = torch.tensor([found[-CONTEXT:]], device=device)
        likely = model(seen)[0, -1].softmax(dim=-1)
        found.append(torch.multinomial(likely, 1).item())
    return "".join(CHARACTERS[i] for i in found)


def compare(args: Any, text: np.ndarray) -> tuple[list[float], list[float]]:
    """The losses of gradcore and of PyTorch, from the same weights on."""
    import torch as pytorch

    losses: list[list[float]] = []
    weights: dict[str, np.ndarray] = {}
    for library, device in ((torch, args.device), (pytorch, "cpu")):
        library.manual_seed(args.seed)
        model = make_model(library).to(device)
        if weights:
            model.load_state_dict({name: library.tensor(value) for name, value in weights.items()})
        else:
            weights = {name: value.cpu().numpy().copy() for name, value in model.state_dict().items()}
        optimizer = make_optimizer(library, model, args.lr)
        losses.append([])
        for step in range(args.steps or STEPS):
            x, y = (library.tensor(part, device=device) for part in batch(text, args.batch_size, args.seed, step))
            loss = loss_of(library, model, x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    print("step  gradcore  PyTorch")
    for step in range(0, len(losses[0]), max(1, len(losses[0]) // 10)):
        print(f"{step:4}  {losses[0][step]:8.4f} {losses[1][step]:8.4f}")
    print(f"{len(losses[0]) - 1:4}  {losses[0][-1]:8.4f} {losses[1][-1]:8.4f}")
    return losses[0], losses[1]


def main(argv: list[str] | None = None) -> Any:
    parser = common.parser(__doc__, epochs=20, batch_size=16, lr=3e-3)
    parser.add_argument("--text", type=Path, help="a file to learn from (default: Python's own documentation)")
    parser.add_argument("--sample", type=int, default=200, help="characters to write in the end (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="train PyTorch's model beside, and print both losses")
    args = parser.parse_args(argv)
    text = encode(load_text(args.text))
    if len(text) < 20 * CONTEXT:
        parser.error(f"--text has {len(text)} characters, at least {20 * CONTEXT} are needed")
    learned, kept = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    if args.compare:
        return compare(args, learned)

    torch.manual_seed(args.seed)
    model = make_model(torch).to(args.device)
    optimizer = make_optimizer(torch, model, args.lr)
    total = args.epochs * STEPS
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / STEPS) * (0.55 + 0.45 * math.cos(math.pi * min(1.0, step / total))),
    )
    run = common.Run("gpt", args, model=model, optimizer=optimizer, scheduler=scheduler)
    criterion = torch.nn.CrossEntropyLoss()
    starts = np.linspace(0, len(kept) - CONTEXT - 1, VALIDATION).astype(int)
    held = [torch.tensor(part, device=args.device) for part in windows(kept, starts)]

    @torch.no_grad()
    def measured() -> float:
        model.eval()
        return loss_of(torch, model, *held).item()

    for _ in run.epochs():
        model.train()
        numbers = range(len(run.losses), len(run.losses) + STEPS)
        batches = (tuple(map(torch.tensor, batch(learned, args.batch_size, args.seed, step))) for step in numbers)
        losses = []
        for x, y in run.batches(batches):
            losses.append(run.update(criterion(model(x).flatten(0, 1), y.flatten()), clip=1.0))
            scheduler.step()
        run.note(train_loss=float(np.mean(losses)), validation_loss=measured())
    loss = measured()
    common.curves(run, {"nats a character": ["train loss", "validation loss"]}, f"A GPT of characters: {loss:.2f} nats")
    for start in ("The ", "def "):
        print(f"--- {write(model, start, args.sample, args.device)}")
    run.finish("validation loss", loss)
    return run


if __name__ == "__main__":
    main()
