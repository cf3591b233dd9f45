//! The distance of two texts.
//!
//! Called for single pairs, and by `search.rs` for what does not fit its tables. Common ends are
//! taken off; if what is left differs in more than a few places (`few.rs`), its shorter text is the
//! pattern of a kernel of one lane.
//!
//! Promises: exact, for any texts. Memory grows with the shorter text times the number of its
//! different symbols; where that is too much (64 Ki symbols, most of them different) the plain
//! table is computed row by row instead, which is slow.

use crate::few::{self, FEW_EDITS, MOST_EDITS, Symbol};
use crate::kernel::{self, Aim, Lane, OVER};
use crate::lanes::Instructions;
use crate::pattern::Pattern;
use crate::symbols::{Symbols, Unit, Values};

/// The distance of two texts.
pub fn distance(a: &str, b: &str, unit: Unit) -> usize {
    let (a, b) = (Symbols::new(a, unit), Symbols::new(b, unit));
    distance_within(&a, &b, usize::MAX).expect("no bound")
}

/// The distance if it is at most `most`.
pub fn distance_within(a: &Symbols, b: &Symbols, most: usize) -> Option<usize> {
    match (&a.values, &b.values) {
        (Values::Narrow(a), Values::Narrow(b)) => within(a, b, most),
        (Values::Wide(a), Values::Wide(b)) => within(a, b, most),
        _ => {
            let (a, b): (Vec<u32>, Vec<u32>) = (a.by_value().collect(), b.by_value().collect());
            within(&a, &b, most)
        }
    }
}

/// The distance if it is at most `most` and at most `MOST_EDITS`, without preparing anything.
pub(crate) fn few_within(a: &Symbols, b: &Symbols, most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most.min(MOST_EDITS) {
        return None;
    }
    match (&a.values, &b.values) {
        (Values::Narrow(a), Values::Narrow(b)) => few::distance_within(a, b, most),
        (Values::Wide(a), Values::Wide(b)) => few::distance_within(a, b, most),
        (Values::Wide(wide), Values::Narrow(narrow))
        | (Values::Narrow(narrow), Values::Wide(wide)) => {
            let narrow: Vec<u32> = narrow.iter().map(|&value| value.into()).collect();
            few::distance_within(wide, &narrow, most)
        }
    }
}

/// Symbols of the shorter text between the ends that both texts have in common.
pub(crate) fn between_ends(a: &Symbols, b: &Symbols) -> usize {
    fn between<T: Symbol>(a: &[T], b: &[T]) -> usize {
        let (a, b) = few::without_ends(a, b);
        a.len().min(b.len())
    }
    match (&a.values, &b.values) {
        (Values::Narrow(a), Values::Narrow(b)) => between(a, b),
        (Values::Wide(a), Values::Wide(b)) => between(a, b),
        _ => a.len().min(b.len()),
    }
}

fn within<T: Symbol>(a: &[T], b: &[T], most: usize) -> Option<usize> {
    let (a, b) = few::without_ends(a, b);
    // The shorter one is the pattern: fewer blocks.
    let (pattern, text) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    // No distance exceeds the longer length.
    let most = most.min(text.len());
    if text.len() - pattern.len() > most {
        return None;
    }
    if pattern.is_empty() {
        return Some(text.len());
    }
    let found = few::distance_within(pattern, text, most.min(FEW_EDITS));
    if found.is_some() || most <= FEW_EDITS {
        return found;
    }
    // Codes from 1 in the order of first occurrence for symbols below 256, then the others sorted.
    let mut direct = [0_u16; 256];
    let mut count = 0;
    let mut others: Vec<u32> = Vec::new();
    for &symbol in pattern {
        let value: u32 = symbol.into();
        match direct.get_mut(value as usize) {
            Some(0) => {
                count += 1;
                direct[value as usize] = count;
            }
            Some(_) => {}
            None => others.push(value),
        }
    }
    others.sort_unstable();
    others.dedup();
    let codes = usize::from(count) + 1 + others.len();
    if codes > usize::from(u16::MAX) || !Pattern::fits(codes, pattern.len()) {
        return plain(pattern, text, most);
    }
    let code = |symbol: &T| {
        let value: u32 = (*symbol).into();
        match direct.get(value as usize) {
            Some(&code) => code,
            None => others
                .binary_search(&value)
                .map_or(0, |code| code as u16 + count + 1),
        }
    };
    let mut table = Pattern::default();
    table.set(codes, pattern.iter().map(code), pattern.len());
    let codes: Vec<u16> = text.iter().map(code).collect();
    let mut state = Vec::new();
    let instructions = Instructions::best();
    // A narrow band first: near pairs are common, and what it finds bounds the rest.
    let mut most = most as u32;
    let shortfall = (text.len() - pattern.len()) as u32;
    let narrow = shortfall + 64;
    let lane = |most| Lane {
        start: 0,
        length: codes.len(),
        most,
    };
    if most > 2 * narrow {
        let upper = kernel::distance(
            instructions,
            &table,
            &codes,
            lane(narrow),
            Aim::Upper,
            &mut state,
        );
        if upper <= narrow {
            return Some(upper as usize);
        }
        most = most.min(upper);
    }
    let found = kernel::distance(
        instructions,
        &table,
        &codes,
        lane(most),
        Aim::Exact,
        &mut state,
    );
    (found != OVER).then_some(found as usize)
}

/// The textbook table, row by row.
pub(crate) fn plain<T: PartialEq>(a: &[T], b: &[T], most: usize) -> Option<usize> {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, x) in a.iter().enumerate() {
        let mut corner = std::mem::replace(&mut above[0], row + 1);
        let mut left = row + 1;
        for (y, value) in b.iter().zip(&mut above[1..]) {
            left = (corner + usize::from(x != y)).min(*value + 1).min(left + 1);
            corner = std::mem::replace(value, left);
        }
    }
    above.last().copied().filter(|&found| found <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain table, which only absurd texts need, against the kernel.
    #[test]
    fn plain_is_the_same() {
        let text = |step: usize| {
            (0..150)
                .map(|n| (n * n * step % 23) as u8)
                .collect::<Vec<u8>>()
        };
        for (a, b) in [(1, 2), (3, 5), (7, 7)].map(|(a, b)| (text(a), text(b))) {
            let found = plain(&a, &b, usize::MAX);
            assert_eq!(found, within(&a, &b, usize::MAX));
            assert_eq!(plain(&a, &b, 3), within(&a, &b, 3));
        }
    }
}
