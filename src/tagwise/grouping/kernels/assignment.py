"""Optimal one-to-one assignment, compiled."""

from __future__ import annotations

import numpy as np

from tagwise.runtime import compiled


@compiled()
def assign(cost, leave):
    """Find the cheapest one-to-one assignment; a row without a column costs `leave`.

    Shortest augmenting paths (Jonker and Volgenant 1987, in the row-by-row form of Crouse 2016
    that scipy.optimize.linear_sum_assignment follows too), with a private exit for each row.

    cost: (R, C) float64, finite. Returns the column of each row, (R,) int64, -1 for none.
    """
    rows, columns = cost.shape
    row_of, column_of = np.empty(columns, np.int64), np.empty(rows, np.int64)
    row_price, column_price = np.empty(rows), np.empty(columns)
    for row in range(rows):
        column_of[row] = -1
    for column in range(columns):
        row_of[column], column_price[column] = -1, 0.0
    if not _assign_cheapest(cost, leave, row_price, row_of, column_of):
        for row in range(rows):
            if column_of[row] < 0 and row_price[row] < leave:
                _augment(cost, leave, row, row_price, column_price, row_of, column_of)
    return column_of


@compiled(inline="always")
def _assign_cheapest(cost, leave, row_price, row_of, column_of):
    """Assign each row to its cheapest column or exit; of several rows, the first gets a column.

    Writes the prices from which the search for paths can start. Returns whether every row got its
    cheapest choice.
    """
    solved = True
    for row in range(cost.shape[0]):
        best, lowest = -1, leave
        for column in range(cost.shape[1]):
            if cost[row, column] < lowest:
                best, lowest = column, cost[row, column]
        row_price[row] = lowest
        if best >= 0 and row_of[best] < 0:
            row_of[best], column_of[row] = row, best
        elif best >= 0:
            solved = False
    return solved


@compiled(inline="always")
def _augment(cost, leave, start, row_price, column_price, row_of, column_of):
    """Assign one more row to a column or its exit, along the shortest augmenting path."""
    columns = len(column_price)
    before, shortest = np.empty(columns, np.int64), np.empty(columns)
    done = np.empty(columns, np.bool_)
    for c in range(columns):
        shortest[c], done[c] = np.inf, False
    row, length = start, 0.0
    exit_row, exit_length = -1, np.inf
    while True:
        if length + leave - row_price[row] < exit_length:
            exit_row, exit_length = row, length + leave - row_price[row]
        column, nearest = -1, np.inf
        for c in range(columns):
            if not done[c]:
                reach = length + cost[row, c] - row_price[row] - column_price[c]
                if reach < shortest[c]:
                    shortest[c], before[c] = reach, row
                if shortest[c] < nearest:
                    column, nearest = c, shortest[c]
        if column < 0 or exit_length <= nearest:
            column, length = -1, exit_length
            break
        length = nearest
        if row_of[column] < 0:
            break
        done[column] = True
        row = row_of[column]
    row_price[start] += length
    for c in range(columns):
        if done[c]:
            row_price[row_of[c]] += length - shortest[c]
            column_price[c] -= length - shortest[c]
    if column < 0:
        column, column_of[exit_row] = column_of[exit_row], -1
        if exit_row == start:
            return
    row = -1
    while row != start:
        row = before[column]
        row_of[column] = row
        column, column_of[row] = column_of[row], column
