"""How far one guess at a time goes: what a solver decides that knows singles and tries every candidate.

    python3 bench/trial_and_error.py --data sudoku-extreme.csv --first 400

A candidate from which singles alone lead to a contradiction is ruled out, until none is. Puzzles are told apart by what
decides them: singles (a cell with one candidate left, a digit with one cell left in its unit), one guess at a time, one
lucky guess that singles complete, or none of these: there a hypothesis has to be made under another. Plain Python, no
packages; 100 puzzles take some seconds.
"""

import argparse
import collections
import csv

CELLS = range(81)
UNITS = [[9 * i + j for j in range(9)] for i in range(9)]
UNITS += [[9 * j + i for j in range(9)] for i in range(9)]
UNITS += [[27 * (i // 3) + 3 * (i % 3) + 9 * (j // 3) + j % 3 for j in range(9)] for i in range(9)]
OF_CELL = [[unit for unit in UNITS if cell in unit] for cell in CELLS]
PEERS = [{other for unit in OF_CELL[cell] for other in unit} - {cell} for cell in CELLS]


def remove(board, cell, digits, singles):
    """Takes candidates, a set of bits, from a cell; false if nothing is left somewhere."""
    gone = board[cell] & digits
    if not gone:
        return True
    board[cell] &= ~gone
    if not board[cell]:
        return False
    if board[cell] & (board[cell] - 1) == 0:
        singles.append((cell, board[cell]))
    while gone:
        digit = gone & -gone
        gone &= gone - 1
        for unit in OF_CELL[cell]:
            places = [other for other in unit if board[other] & digit]
            if not places:
                return False
            if len(places) == 1 and board[places[0]] != digit:
                singles.append((places[0], digit))
    return True


def settle(board, singles):
    """Sets these digits, and all singles that follow; false if they contradict each other."""
    while singles:
        cell, digit = singles.pop()
        if not board[cell] & digit or not remove(board, cell, board[cell] & ~digit, singles):
            return False
        if not all(remove(board, peer, digit, singles) for peer in PEERS[cell]):
            return False
    return True


def is_done(board):
    return not any(digits & (digits - 1) for digits in board)


def decided_by(quiz):
    board = [511] * 81
    givens = [(cell, 1 << (int(digit) - 1)) for cell, digit in enumerate(quiz) if digit not in ".0"]
    if not settle(board, givens):
        return "contradiction"
    if is_done(board):
        return "singles"
    lucky, goes_on = False, True
    while goes_on:
        goes_on = False
        for cell in CELLS:
            for digit in (1 << k for k in range(9)):
                if not board[cell] & digit or board[cell] == digit:
                    continue
                tried = board[:]
                if not settle(tried, [(cell, digit)]):
                    singles = []
                    if not remove(board, cell, digit, singles) or not settle(board, singles):
                        return "contradiction"
                    goes_on = True
                else:
                    lucky |= is_done(tried)
        if is_done(board):
            return "one guess at a time"
    return "a lucky guess" if lucky else "nested guesses"


def main():
    parser = argparse.ArgumentParser(description="What decides each puzzle of a CSV file.")
    parser.add_argument("--data", required=True)
    parser.add_argument("--first", type=int, help="rows to look at (default: all)")
    args = parser.parse_args()
    with open(args.data, newline="") as file:
        rows = list(csv.DictReader(file))[: args.first]
    column = next(name for name in rows[0] if name.startswith(("quiz", "question")))
    counts = collections.Counter(decided_by(row[column]) for row in rows)
    for name, count in counts.most_common():
        print(f"{name:20} {count:6}  {100 * count / len(rows):6.2f} %")


if __name__ == "__main__":
    main()
