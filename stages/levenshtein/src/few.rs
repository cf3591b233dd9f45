//! The distance of two texts that differ in few places, and what their ends have in common.
//!
//! Called by `pair.rs` for every pair, and by `search.rs` where candidates are few. For each
//! diagonal the furthest row that so many edits reach, edit by edit (Ukkonen 1985; Landau and
//! Vishkin 1989), from both ends until they meet (Myers 1986): time grows with the square of the
//! edits, not with the texts, and nothing is prepared, so that a program and its correction take less
//! time than making either a pattern.
//!
//! Promises: exact up to `MOST_EDITS`. No memory but the stack.
#![allow(
    clippy::inline_always,
    reason = "an edit from either end is one loop only where it is inlined"
)]

/// Most edits that can be looked for this way: beyond, columns of bits are faster.
pub(crate) const MOST_EDITS: usize = 64;
/// Edits that are looked for where nothing promises that there are so few.
pub(crate) const FEW_EDITS: usize = 24;

/// A symbol of a text.
pub(crate) trait Symbol: Copy + Eq + Into<u32> {
    /// How many symbols both begin with.
    fn common_prefix(a: &[Self], b: &[Self]) -> usize;
    /// How many symbols both end with.
    fn common_suffix(a: &[Self], b: &[Self]) -> usize;
}

impl Symbol for u8 {
    #[inline]
    fn common_prefix(a: &[Self], b: &[Self]) -> usize {
        // Mostly the first word already differs.
        if let (Some(x), Some(y)) = (a.first_chunk(), b.first_chunk()) {
            let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
            if differ != 0 {
                return differ.trailing_zeros() as usize / 8;
            }
        }
        let mut same = 0;
        // A word at a time.
        for (x, y) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
            let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
            if differ != 0 {
                return same + differ.trailing_zeros() as usize / 8;
            }
            same += 8;
        }
        let rest = a[same..].iter().zip(&b[same..]);
        same + rest.take_while(|(x, y)| x == y).count()
    }

    #[inline]
    fn common_suffix(a: &[Self], b: &[Self]) -> usize {
        if let (Some(x), Some(y)) = (a.last_chunk(), b.last_chunk()) {
            let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
            if differ != 0 {
                return differ.leading_zeros() as usize / 8;
            }
        }
        let mut same = 0;
        let (words_a, words_b) = (a.as_rchunks().1, b.as_rchunks().1);
        for (x, y) in words_a.iter().rev().zip(words_b.iter().rev()) {
            let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
            if differ != 0 {
                return same + differ.leading_zeros() as usize / 8;
            }
            same += 8;
        }
        let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
        let rest = a.iter().rev().zip(b.iter().rev());
        same + rest.take_while(|(x, y)| x == y).count()
    }
}

/// Two symbols in a word, the first in its lower half.
fn two([first, second]: [u32; 2]) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

impl Symbol for u32 {
    #[inline]
    fn common_prefix(a: &[Self], b: &[Self]) -> usize {
        if let (Some(x), Some(y)) = (a.first_chunk(), b.first_chunk()) {
            let differ = two(*x) ^ two(*y);
            if differ != 0 {
                return differ.trailing_zeros() as usize / 32;
            }
        }
        let eights = a.as_chunks::<8>().0.iter().zip(b.as_chunks().0);
        let same = 8 * eights.take_while(|(x, y)| x == y).count();
        let rest = a[same..].iter().zip(&b[same..]);
        same + rest.take_while(|(x, y)| x == y).count()
    }

    #[inline]
    fn common_suffix(a: &[Self], b: &[Self]) -> usize {
        if let (Some(x), Some(y)) = (a.last_chunk(), b.last_chunk()) {
            let differ = two(*x) ^ two(*y);
            if differ != 0 {
                return differ.leading_zeros() as usize / 32;
            }
        }
        let (eights_a, eights_b) = (a.as_rchunks::<8>().1, b.as_rchunks().1);
        let eights = eights_a.iter().rev().zip(eights_b.iter().rev());
        let same = 8 * eights.take_while(|(x, y)| x == y).count();
        let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
        let rest = a.iter().rev().zip(b.iter().rev());
        same + rest.take_while(|(x, y)| x == y).count()
    }
}

/// Two texts without the ends that they have in common.
pub(crate) fn without_ends<'a, T: Symbol>(a: &'a [T], b: &'a [T]) -> (&'a [T], &'a [T]) {
    let prefix = T::common_prefix(a, b);
    let (a, b) = (&a[prefix..], &b[prefix..]);
    let suffix = T::common_suffix(a, b);
    (&a[..a.len() - suffix], &b[..b.len() - suffix])
}

/// The distance if it is at most `most` and at most `MOST_EDITS`.
///
/// From both ends in turn, an edit at a time, until they meet: on a path of k edits some cell is
/// i edits from the first one and k - i from the last. Either side sees but half as many diagonals.
pub(crate) fn distance_within<T: Symbol>(a: &[T], b: &[T], most: usize) -> Option<usize> {
    // A diagonal is a column less its row.
    let (rows, columns) = (a.len() as isize, b.len() as isize);
    let last = columns - rows;
    let most = most.min(MOST_EDITS) as isize;
    if last.abs() > most {
        return None;
    }
    let table = Table {
        rows,
        columns,
        most,
    };
    // Seen from the end, a cell of diagonal d is on diagonal `last - d`.
    let forth = |row: isize, diagonal: isize| {
        let (a, b) = (&a[row as usize..], &b[(row + diagonal) as usize..]);
        T::common_prefix(a, b) as isize
    };
    let back = |row: isize, diagonal: isize| {
        let (row, column) = (rows - row, columns - row - diagonal);
        let (a, b) = (&a[..row as usize], &b[..column as usize]);
        T::common_suffix(a, b) as isize
    };
    let mut from_start = Furthest::new(forth(0, 0));
    let mut from_end = Furthest::new(back(0, 0));
    if last == 0 && from_start.row(0) == rows {
        return Some(0);
    }
    for edits in 1..=most {
        let meet = if edits % 2 == 1 {
            from_start.advance(table, (edits + 1) / 2, &from_end, forth)
        } else {
            from_end.advance(table, edits / 2, &from_start, back)
        };
        if meet {
            return Some(edits as usize);
        }
    }
    None
}

/// What both sides look at.
#[derive(Clone, Copy)]
struct Table {
    rows: isize,
    columns: isize,
    most: isize,
}

/// Diagonals that one side may come to.
const REACH: isize = (MOST_EDITS as isize + 1) / 2;

/// For each diagonal, the furthest row that so many edits reach.
struct Furthest([isize; 2 * REACH as usize + 3]);

impl Furthest {
    fn new(row: isize) -> Self {
        // Where nothing leads yet, no step leads on.
        let mut furthest = Self([isize::MIN / 4; 2 * REACH as usize + 3]);
        furthest.0[Self::at(0)] = row;
        furthest
    }

    fn at(diagonal: isize) -> usize {
        (diagonal + REACH + 1) as usize
    }

    fn row(&self, diagonal: isize) -> isize {
        self.0[Self::at(diagonal)]
    }

    /// Goes on by one edit, to so many; whether the other side, which comes from the other end, is met.
    #[inline(always)]
    fn advance(
        &mut self,
        table: Table,
        edits: isize,
        other: &Self,
        equal: impl Fn(isize, isize) -> isize,
    ) -> bool {
        let Table {
            rows,
            columns,
            most,
        } = table;
        let last = columns - rows;
        // Further diagonals are not reached yet, or too far from the last one for what is left.
        let from = (-edits).max(last - (most - edits)).max(-rows);
        let to = edits.min(last + (most - edits)).min(columns);
        let mut meet = false;
        let mut before = self.row(from - 1);
        for diagonal in from..=to {
            let here = self.row(diagonal);
            // An insertion stays in the row, a replacement and a deletion go to the next. Behind the
            // end of either text, its last cell is no dearer.
            let row = before.max(here + 1).max(self.row(diagonal + 1) + 1);
            let row = row.min(rows).min(columns - diagonal);
            let row = row + equal(row, diagonal);
            self.0[Self::at(diagonal)] = row;
            before = here;
            // Values along a diagonal never fall: what is behind has been reached, too.
            let opposite = other.0.get(Self::at(last - diagonal));
            meet |= opposite.is_some_and(|opposite| row + opposite >= rows);
        }
        meet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::plain;

    /// From both ends, against the plain table: texts that differ in few places and in many, some of
    /// them empty, at bounds around the distance and around the reach of either end.
    #[test]
    fn both_ends_meet() {
        let mut state = 1_u64;
        let mut below = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        for round in 0..3000 {
            let symbols = 2 + round % 5;
            let a: Vec<u8> = (0..below(130)).map(|_| below(symbols) as u8).collect();
            let mut b = a.clone();
            for _ in 0..below(if round % 2 == 0 { 12 } else { 90 }) {
                let at = below(b.len() + 1);
                match below(3) {
                    0 => b.insert(at, below(symbols) as u8),
                    1 if at < b.len() => b[at] = below(symbols) as u8,
                    _ if at < b.len() => drop(b.remove(at)),
                    _ => {}
                }
            }
            let wanted = plain(&a, &b, usize::MAX).unwrap_or_default();
            let wide = |text: &[u8]| {
                text.iter()
                    .map(|&x| u32::from(x) << 9)
                    .collect::<Vec<u32>>()
            };
            let (wide_a, wide_b) = (wide(&a), wide(&b));
            for most in [
                0,
                1,
                2,
                31,
                32,
                33,
                63,
                64,
                wanted.saturating_sub(1),
                wanted,
                wanted + 1,
            ] {
                let expected = (wanted <= most.min(MOST_EDITS)).then_some(wanted);
                assert_eq!(
                    distance_within(&a, &b, most),
                    expected,
                    "{a:?} {b:?} {most}"
                );
                assert_eq!(
                    distance_within(&wide_a, &wide_b, most),
                    expected,
                    "{a:?} {b:?} {most}"
                );
            }
        }
    }
}
