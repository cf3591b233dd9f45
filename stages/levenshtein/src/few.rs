//! The distance of two texts that differ in few places, and what their ends have in common.
//!
//! Called by `pair.rs` for every pair, and by `search.rs` where candidates are few. For each
//! diagonal the furthest row that so many edits reach, edit by edit (Ukkonen 1985; Landau and
//! Vishkin 1989): time grows with the square of the edits, not with the texts, and nothing is
//! prepared, so that a program and its correction take less time than making either a pattern.
//!
//! Promises: exact up to `MOST_EDITS`. No memory but the stack.

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

impl Symbol for u32 {
    #[inline]
    fn common_prefix(a: &[Self], b: &[Self]) -> usize {
        let eights = a.as_chunks::<8>().0.iter().zip(b.as_chunks().0);
        let same = 8 * eights.take_while(|(x, y)| x == y).count();
        let rest = a[same..].iter().zip(&b[same..]);
        same + rest.take_while(|(x, y)| x == y).count()
    }

    #[inline]
    fn common_suffix(a: &[Self], b: &[Self]) -> usize {
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
pub(crate) fn distance_within<T: Symbol>(a: &[T], b: &[T], most: usize) -> Option<usize> {
    // A diagonal is a column less its row.
    let (rows, columns) = (a.len() as isize, b.len() as isize);
    let last = columns - rows;
    let most = most.min(MOST_EDITS) as isize;
    if last.abs() > most {
        return None;
    }
    let at = |diagonal: isize| (diagonal + most + 1) as usize;
    // Where nothing leads yet, no step leads on.
    let mut furthest = [isize::MIN / 2; 2 * MOST_EDITS + 3];
    furthest[at(0)] = T::common_prefix(a, b) as isize;
    if last == 0 && furthest[at(0)] == rows {
        return Some(0);
    }
    for edits in 1..=most {
        // Further diagonals are not reached yet, or too far from the last one for what is left.
        let from = (-edits).max(last - (most - edits)).max(-rows);
        let to = edits.min(last + (most - edits)).min(columns);
        let mut before = furthest[at(from - 1)];
        for diagonal in from..=to {
            let here = furthest[at(diagonal)];
            // An insertion stays in the row, a replacement and a deletion go to the next. Behind
            // the end of either text, its last cell is no dearer.
            let row = before.max(here + 1).max(furthest[at(diagonal + 1)] + 1);
            let row = row.min(rows).min(columns - diagonal);
            let (a, b) = (&a[row as usize..], &b[(row + diagonal) as usize..]);
            furthest[at(diagonal)] = row + T::common_prefix(a, b) as isize;
            before = here;
        }
        if furthest[at(last)] == rows {
            return Some(edits as usize);
        }
    }
    None
}
