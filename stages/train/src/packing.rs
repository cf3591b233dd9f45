//! Which sequences share a row, and which rows a micro-batch.
//!
//! Used by `next_token` for every epoch. Packing puts them into rows of a fixed room: first fit over the last few open rows, so that the
//! order of the shuffle is nearly kept and rows are nearly full. Nothing is cut: a sequence
//! that fits no row is the caller's to drop. Bucketing leaves a row each and puts rows of like
//! length into one micro-batch. Attention stays within a sequence (see
//! `model::batch`), so packing changes which sequences share an update and nothing else.

/// Rows that still take sequences.
const OPEN_ROWS: usize = 32;

/// Groups `items` into rows whose lengths add up to at most `room` tokens; rows come in the
/// order of their first item. A longer item gets a row of its own.
pub fn pack(items: &[u32], length: impl Fn(u32) -> usize, room: usize) -> Vec<Vec<u32>> {
    let mut rows: Vec<(Vec<u32>, usize)> = Vec::new();
    for &item in items {
        let needed = length(item);
        let open = rows.len().saturating_sub(OPEN_ROWS);
        match rows[open..]
            .iter_mut()
            .find(|(_, used)| used + needed <= room)
        {
            Some((row, used)) => {
                row.push(item);
                *used += needed;
            }
            None => rows.push((vec![item], needed)),
        }
    }
    rows.into_iter().map(|(row, _)| row).collect()
}

/// Micro-batches that are sorted together.
const POOL: usize = 32;

/// Orders `items` so that every `batch` of them are of like length: pools of 32 batches are
/// sorted by length and cut; the batches of a pool come in the order of their first item in
/// `items`, so that a shuffle stays one. Micro-batches are not padded: this evens out their
/// sizes and lowers the memory of the largest, and saves no work.
pub fn bucket(items: &[u32], length: impl Fn(u32) -> usize, batch: usize) -> Vec<u32> {
    let mut ordered = Vec::with_capacity(items.len());
    for pool in items.chunks(POOL * batch) {
        let mut places: Vec<usize> = (0..pool.len()).collect();
        places.sort_by_key(|&place| (length(pool[place]), place));
        let mut batches: Vec<&[usize]> = places.chunks(batch).collect();
        // A smaller one stays last, or all after it would be cut elsewhere.
        let whole = pool.len() / batch;
        batches[..whole].sort_by_key(|batch| batch.iter().min());
        ordered.extend(batches.concat().into_iter().map(|place| pool[place]));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::{bucket, pack};

    #[test]
    fn buckets_hold_every_item_once_and_batches_are_of_like_length() {
        let lengths: Vec<usize> = (0..203).map(|i| 1 + (i * 37) % 100).collect();
        let items: Vec<u32> = (0..203).map(|i| (i * 101) % 203).collect();
        let length = |item: u32| lengths[item as usize];
        let ordered = bucket(&items, length, 4);
        let mut seen = ordered.clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..203).collect::<Vec<u32>>());
        // How much the lengths of a batch differ, in all.
        let spread = |items: &[u32]| -> usize {
            let batches = items.chunks(4).map(|batch| {
                let lengths = batch.iter().map(|&item| length(item));
                lengths.clone().max().unwrap_or(0) - lengths.min().unwrap_or(0)
            });
            batches.sum()
        };
        assert!(spread(&ordered) * 10 < spread(&items));
        // Batches do not come by length: the shuffle decides.
        let sizes: Vec<usize> = ordered.chunks(4).map(|batch| length(batch[0])).collect();
        assert!(!sizes[..32].is_sorted());
        assert_eq!(bucket(&items[..3], length, 1), items[..3]);
    }

    #[test]
    fn rows_hold_every_item_once_and_none_is_too_full() {
        let lengths: Vec<usize> = (0..500).map(|i| 1 + (i * 37) % 100).collect();
        let items: Vec<u32> = (0..500).rev().collect();
        let rows = pack(&items, |item| lengths[item as usize], 120);
        let total = |row: &[u32]| {
            row.iter()
                .map(|&item| lengths[item as usize])
                .sum::<usize>()
        };
        assert!(rows.iter().all(|row| total(row) <= 120));
        let mut seen = rows.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<u32>>());
        let full = lengths.iter().sum::<usize>() as f64 / (rows.len() * 120) as f64;
        assert!(full > 0.9, "rows are {full} full");
    }

    #[test]
    fn without_room_every_item_is_a_row() {
        assert_eq!(pack(&[2, 0, 1], |_| 5, 0), [[2], [0], [1]]);
    }
}
