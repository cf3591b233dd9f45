//! Every kind of instructions against the textbook table.
#![allow(clippy::unwrap_used)]

use levenshtein::{Candidates, Instructions, Match, Symbols, Unit, distance, distance_within};
use proptest::prelude::*;

/// The textbook table, row by row.
fn naive(a: &[u32], b: &[u32]) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(x != y);
            row.push(replaced.min(above[j + 1] + 1).min(row[j] + 1));
        }
        above = row;
    }
    above[b.len()]
}

fn available() -> impl Iterator<Item = Instructions> {
    Instructions::ALL
        .into_iter()
        .filter(|kind| kind.available())
}

/// Texts over few symbols, narrow and wide (lone surrogates among them), some of several blocks.
fn text() -> impl Strategy<Value = Vec<u32>> {
    let few = prop::sample::select(vec![97_u32, 98, 99, 32, 0xE9, 0x65E5, 0xD800]);
    let ascii = prop::sample::select(vec![97_u32, 98, 99, 32]);
    prop_oneof![
        prop::collection::vec(ascii.clone(), 0..20),
        prop::collection::vec(ascii, 0..400),
        prop::collection::vec(few, 0..300),
    ]
}

/// A text with some places changed.
fn edited(text: &[u32], edits: &[(prop::sample::Index, u8, u32)]) -> Vec<u32> {
    let mut text = text.to_vec();
    for (place, kind, symbol) in edits {
        let at = place.index(text.len() + 1);
        match kind % 3 {
            0 => text.insert(at, *symbol),
            1 if at < text.len() => text[at] = *symbol,
            _ if at < text.len() => drop(text.remove(at)),
            _ => {}
        }
    }
    text
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u32)>> {
    let symbol = prop::sample::select(vec![97_u32, 98, 120, 0x416]);
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), symbol), 0..40)
}

/// A query, and candidates of which some are edits of it or of each other, or the same.
fn group() -> impl Strategy<Value = (Vec<u32>, Vec<Vec<u32>>)> {
    let near = prop::collection::vec(edits(), 0..8);
    let far = prop::collection::vec((text(), edits()), 0..8);
    (text(), near, far).prop_map(|(query, near, far)| {
        let mut all: Vec<Vec<u32>> = near.iter().map(|edits| edited(&query, edits)).collect();
        for (text, edits) in far {
            all.push(edited(&text, &edits));
            all.push(text);
        }
        (query, all)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn pairs(a in text(), b in text(), changes in edits(), slack in 0..30_usize) {
        for b in [b, edited(&a, &changes)] {
            let wanted = naive(&a, &b);
            let (a, b) = (Symbols::from_values(a.clone()), Symbols::from_values(b));
            prop_assert_eq!(distance_within(&a, &b, usize::MAX), Some(wanted));
            prop_assert_eq!(distance_within(&b, &a, wanted), Some(wanted));
            prop_assert_eq!(distance_within(&a, &b, wanted + slack), Some(wanted));
            if wanted > slack {
                prop_assert_eq!(distance_within(&a, &b, wanted - slack - 1), None);
            }
        }
    }

    #[test]
    fn groups((query, texts) in group(), count in 1..5_usize, most in 0..200_u32) {
        // Few candidates are asked in another way than many.
        let mut many = texts.clone();
        many.extend((0..40).map(|n| (0..3 * n).map(|place| 48 + place * n % 7).collect()));
        for texts in [texts, many] {
            let distances: Vec<u32> =
                texts.iter().map(|text| naive(&query, text) as u32).collect();
            let mut wanted: Vec<Match> = distances
                .iter()
                .enumerate()
                .map(|(index, &distance)| Match { distance, index: index as u32 })
                .collect();
            wanted.sort();
            let query = Symbols::from_values(query.clone());
            let texts: Vec<Symbols> = texts.into_iter().map(Symbols::from_values).collect();
            let candidates = Candidates::new(&texts);
            for kind in available() {
                let mut search = candidates.search_with(kind);
                // Before anything else, so that nothing is prepared yet.
                prop_assert_eq!(search.nearest(&query), wanted.first().copied(), "{:?}", kind);
                prop_assert_eq!(search.distances(&query), &distances[..], "{:?}", kind);
                let near: Vec<Match> =
                    wanted.iter().copied().filter(|found| found.distance <= most).take(count).collect();
                prop_assert_eq!(search.nearest_few(&query, count, most), near, "{:?}", kind);
                // What one query left behind does not touch the next one.
                prop_assert_eq!(search.nearest(&query), wanted.first().copied(), "{:?}", kind);
            }
        }
    }

    /// Few edits, so that most distances are near the bound of what is found edit by edit.
    #[test]
    fn few_edits(a in text(), changes in edits(), slack in 0..4_usize) {
        for count in [0, 3, 8, 24, 25, 26].map(|count| changes.len().min(count)) {
            let b = edited(&a, &changes[..count]);
            let wanted = naive(&a, &b);
            let (a, b) = (Symbols::from_values(a.clone()), Symbols::from_values(b));
            for (a, b) in [(&a, &b), (&b, &a)] {
                prop_assert_eq!(distance_within(a, b, wanted + slack), Some(wanted));
                let below = (wanted + slack).saturating_sub(4);
                prop_assert_eq!(distance_within(a, b, below), (wanted == 0).then_some(0));
            }
        }
    }
}

/// Numbers that look random.
fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[test]
fn long_programs() {
    let lines = [
        "for (int i = 0; i < n; ++i) {\n",
        "  a[i] += b;\n",
        "}\n",
        "cin >> x;\n",
        "int y;\n",
    ];
    let mut next = noise(7);
    let mut program = |lines_of: u64| -> String {
        (0..lines_of)
            .map(|_| lines[next(lines.len() as u64) as usize])
            .collect()
    };
    let query = program(130);
    let mut texts: Vec<String> = (0..40).map(|lines| program(20 + 4 * lines)).collect();
    // Near ones: a line less, in different places.
    for cut in [0, 700, 1200] {
        texts.push(query[..cut].to_owned() + query.get(cut + 13..).unwrap_or(""));
    }
    let values = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
    let distances: Vec<u32> = texts
        .iter()
        .map(|text| naive(&values(&query), &values(text)) as u32)
        .collect();
    let prepared: Vec<Symbols> = texts
        .iter()
        .map(|text| Symbols::new(text, Unit::Bytes))
        .collect();
    let query = Symbols::new(&query, Unit::Bytes);
    let candidates = Candidates::new(&prepared);
    for kind in available() {
        let mut search = candidates.search_with(kind);
        assert_eq!(search.distances(&query), distances, "{kind:?}");
        let mut wanted: Vec<Match> = (0..)
            .zip(&distances)
            .map(|(index, &distance)| Match { distance, index })
            .collect();
        wanted.sort();
        assert_eq!(
            search.nearest_few(&query, 20, u32::MAX),
            &wanted[..20],
            "{kind:?}"
        );
    }
}

#[test]
fn units_differ() {
    assert_eq!(distance("é", "e", Unit::Chars), 1);
    assert_eq!(distance("é", "e", Unit::Bytes), 2);
    assert_eq!(distance("日本", "日", Unit::Bytes), 3);
    let long = "int длина = 0; // comment in English, 日本語 and Russian комментарий 🦀 end";
    let values = Symbols::from_values(long.chars().map(u32::from).collect());
    assert_eq!(Symbols::new(long, Unit::Chars), values);
    // Invalid UTF-8 is bytes like others.
    let (a, b) = (
        Symbols::from_bytes(b"\xff\xfe\x00a"),
        Symbols::from_bytes(b"\xfea"),
    );
    assert_eq!(distance_within(&a, &b, 9), Some(2));
}

#[test]
fn nothing_to_compare() {
    let empty = Symbols::new("", Unit::Chars);
    let texts = [
        Symbols::new("ab", Unit::Chars),
        empty.clone(),
        Symbols::new("a", Unit::Chars),
    ];
    let none: [Symbols; 0] = [];
    assert_eq!(Candidates::new(&none).search().nearest(&empty), None);
    let candidates = Candidates::new(&texts);
    assert_eq!(
        candidates.search().nearest(&empty),
        Some(Match {
            distance: 0,
            index: 1
        })
    );
    assert_eq!(candidates.search().distances(&empty), [2, 0, 1]);
    let query = Symbols::new("abc", Unit::Chars);
    assert_eq!(
        candidates.search().nearest(&query),
        Some(Match {
            distance: 1,
            index: 0
        })
    );
    assert_eq!(candidates.search().nearest_few(&query, 9, 2).len(), 2);
    assert!(candidates.search().nearest_few(&query, 0, 9).is_empty());
}

#[test]
fn identical_texts_are_compared_once() {
    let texts: Vec<Symbols> = (0..5000)
        .map(|n| Symbols::new(["print(1)", "print(22)"][n % 2], Unit::Chars))
        .collect();
    let candidates = Candidates::new(&texts);
    assert_eq!((candidates.len(), candidates.different()), (5000, 2));
    let query = Symbols::new("print(21)", Unit::Chars);
    let found: Vec<(u32, u32)> = candidates
        .search()
        .nearest_few(&query, 3, u32::MAX)
        .iter()
        .map(|found| (found.distance, found.index))
        .collect();
    assert_eq!(found, [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn a_megabyte() {
    let mut next = noise(3);
    let long: Vec<u8> = (0..1 << 20).map(|_| b'a' + next(20) as u8).collect();
    let mut other = long.clone();
    for place in [0, 5000, 77_777, 400_000, 1 << 19, 1_000_000] {
        other[place] = b'!';
    }
    other.drain(300_000..300_100);
    let (a, b) = (Symbols::from_bytes(&long), Symbols::from_bytes(&other));
    let short = Symbols::from_bytes(b"short");
    assert_eq!(distance_within(&a, &b, usize::MAX), Some(106));
    assert_eq!(distance_within(&a, &short, 100), None);
    let texts = [short, b, a.clone()];
    let candidates = Candidates::new(&texts);
    let found = candidates.search().nearest_few(&a, 2, 1000).to_vec();
    let wanted = [(0, 2), (106, 1)].map(|(distance, index)| Match { distance, index });
    assert_eq!(found, wanted);
}

/// Programs of a few hundred lines, far from each other and near, so that much of the table is
/// left out for what is left of both texts.
#[test]
fn far_programs() {
    let lines = [
        "for (int i = 0; i < n; ++i) {\n",
        "    if (a[i] > best) best = a[i];\n",
        "cin >> x >> y;\n",
        "vector<long long> dp(n + 1, 0);\n",
        "}\n",
        "ans = (ans + dp[i]) % MOD; // комментарий\n",
        "while (lo < hi) mid = (lo + hi) / 2;\n",
        "\t\t\t\t\n",
    ];
    let mut next = noise(11);
    for round in 0..20 {
        // Each program has its own favourite lines, so that histograms differ.
        let mut program = |size: u64| -> Vec<u32> {
            let (first, few) = (next(8), 1 + next(4));
            let all = (0..size).map(|_| lines[((first + next(few)) % 8) as usize]);
            all.collect::<String>().chars().map(u32::from).collect()
        };
        let query = program(1 + 3 * round % 32);
        let mut texts: Vec<Vec<u32>> = (0..40).map(|size| program(1 + size)).collect();
        let mut mixed = query.clone();
        mixed.extend_from_slice(&texts[7]);
        texts.push(mixed);
        let distances: Vec<u32> = texts
            .iter()
            .map(|text| naive(&query, text) as u32)
            .collect();
        let mut wanted: Vec<Match> = (0..)
            .zip(&distances)
            .map(|(index, &distance)| Match { distance, index })
            .collect();
        wanted.sort();
        let query = Symbols::from_values(query);
        let texts: Vec<Symbols> = texts.into_iter().map(Symbols::from_values).collect();
        let candidates = Candidates::new(&texts);
        for kind in available() {
            let mut search = candidates.search_with(kind);
            for count in [1, 3, 41] {
                let found = search.nearest_few(&query, count, u32::MAX);
                assert_eq!(found, &wanted[..count], "{kind:?} {round}");
            }
        }
    }
}
