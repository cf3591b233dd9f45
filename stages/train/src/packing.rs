//! Puts sequences of different lengths into rows of a fixed room.
//!
//! Used by `next_token` for every epoch. First fit over the last few open rows, so that the
//! order of the shuffle is nearly kept and rows are nearly full. Nothing is cut: a sequence
//! that fits no row is the caller's to drop. Attention stays within a sequence (see
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

#[cfg(test)]
mod tests {
    use super::pack;

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
