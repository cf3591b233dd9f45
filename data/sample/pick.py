"""Picks the problems of this sample out of a Parquet file with CodeContests' columns.

    python pick.py codecontests_train.parquet

Needs pyarrow. The order and the split are those of the lists below; no value is changed.
"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = {
    "train": [
        "1141_A. Game 23",
        "131_C. The World is a Theatre",
        "805_D. Minimum number of steps",
        "817_B. Makes And The Product",
        "913_B. Christmas Spruce",
        "1169_B. Pairs",
        "762_A. k-th divisor",
        "371_B. Fox Dividing Cheese",
        "1113_C. Sasha and a Bit of Relax",
        # The same problem as 634_B in `test`: what `decontaminate` is there for.
        "627_A. XOR Equation",
    ],
    "valid": ["514_B. Han Solo and Lazer Gun"],
    "test": ["634_B. XOR Equation", "116_C. Party", "327_C. Magic Five"],
}

table = pq.read_table(sys.argv[1])
names = table.column("name").to_pylist()
for split, wanted in SPLITS.items():
    rows = pa.array([names.index(name) for name in wanted])
    pq.write_table(table.take(rows), f"{split}.parquet", compression="snappy")
