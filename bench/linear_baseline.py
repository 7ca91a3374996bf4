"""What a plain linear map makes of a Sudoku: the documented model's input and output, and nothing in between.

    python3 bench/linear_baseline.py --data kaggle-15k.csv --epochs 100

Softmax regression from the one-hot givens, [81 x 10], to the digits, [81 x 9], with the same rows held out as by
`trm train --preset kaggle` and all symmetries of Sudoku as augmentation. Needs torch and numpy.
"""

import argparse
import csv

import numpy as np
import torch


def read(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [next(c for c in rows[0] if c.startswith(name)) for name in ("quiz", "solution")]
    return [np.array([[int(d) for d in row[c]] for row in rows], np.int64).reshape(-1, 9, 9) for c in columns]


def symmetric(boards, random):
    """Each pair of boards turned and renamed by a symmetry of its own."""
    size = len(boards[0])

    def lines():
        bands = random.random((size, 3, 1)).argsort(1) * 3
        return (bands + random.random((size, 3, 3)).argsort(2)).reshape(size, 9)

    rows, columns = lines(), lines()
    digits = np.concatenate([np.zeros((size, 1), np.int64), random.random((size, 9)).argsort(1) + 1], 1)
    transposed = random.random((size, 1, 1)) < 0.5
    n = np.arange(size)[:, None, None]

    def image(board):
        board = np.where(transposed, board.transpose(0, 2, 1), board)[n, rows[:, :, None], columns[:, None, :]]
        return digits[n, board]

    return [image(board) for board in boards]


def one_hot(quizzes):
    return torch.nn.functional.one_hot(torch.from_numpy(quizzes.reshape(-1, 81)), 10).flatten(1).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    quizzes, solutions = read(args.data)
    train, held_out = [quizzes[:-1000], solutions[:-1000]], [quizzes[-1000:], solutions[-1000:]]
    random = np.random.default_rng(1)
    torch.manual_seed(1)
    model = torch.nn.Linear(810, 729)
    batch = 128
    steps = args.epochs * (len(train[0]) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(args.epochs):
        order = random.permutation(len(train[0]))
        q, s = symmetric([boards[order] for boards in train], random)
        for first in range(0, len(q) - batch + 1, batch):
            logits = model(one_hot(q[first : first + batch])).view(-1, 9)
            targets = torch.from_numpy(s[first : first + batch].reshape(-1) - 1)
            loss = torch.nn.functional.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9 or epoch + 1 == args.epochs:
            with torch.no_grad():
                right = model(one_hot(held_out[0])).view(-1, 81, 9).argmax(2).numpy() + 1 == held_out[1].reshape(-1, 81)
            blank = held_out[0].reshape(-1, 81) == 0
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, held out: cells {100 * right.mean():.2f} %, "
                  f"blanks {100 * right[blank].mean():.2f} %, boards {100 * right.all(1).mean():.2f} %", flush=True)


main()
