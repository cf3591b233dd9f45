//! Many texts, prepared for being asked which of them is nearest.
//!
//! Made by `triplets` for the wrong programs of a problem; a `Search` asks. Shared by all queries
//! of a problem: the codes of the texts, their histograms, and that equal texts are compared once.
//! Codes and histograms are made when the first query needs them: in a small group perhaps none.
//!
//! Promises: indices are those of the texts as they were given. Memory: two bytes a symbol, and
//! 128 bytes a text.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::bound::Histogram;
use crate::lanes::Instructions;
use crate::search::Search;
use crate::symbols::{Symbols, Values};

/// Symbols that get a code; a text with another one is compared alone (`pair.rs`).
const MOST_CODES: usize = u16::MAX as usize;

/// Texts to find the nearest of.
pub struct Candidates<'a> {
    /// Different texts, shortest first, then by their first index.
    pub(crate) texts: Vec<Text<'a>>,
    tables: OnceLock<Tables>,
    most_codes: usize,
    length: usize,
}

/// What comparing many texts takes.
pub(crate) struct Tables {
    pub(crate) histograms: Vec<Histogram>,
    /// Where the codes of each text begin; none if a symbol has no code.
    pub(crate) starts: Vec<Option<usize>>,
    /// The codes of all texts, one after the other, and room to read on behind the last.
    pub(crate) codes: Vec<u16>,
    pub(crate) alphabet: Alphabet,
}

impl Tables {
    fn new(texts: &[Text], most_codes: usize) -> Self {
        let mut alphabet = Alphabet::new(most_codes);
        let longest = texts.last().map_or(0, |text| text.length);
        let symbols: usize = texts.iter().map(|text| text.length).sum();
        let mut codes = Vec::with_capacity(symbols + longest);
        let starts = texts.iter().map(|text| {
            let start = codes.len();
            if alphabet.encode(text.symbols, &mut codes) {
                return Some(start);
            }
            codes.truncate(start);
            None
        });
        let starts = starts.collect();
        codes.resize(codes.len() + longest, 0);
        Self {
            histograms: texts.iter().map(|text| text.symbols.histogram()).collect(),
            starts,
            codes,
            alphabet,
        }
    }
}

/// One of the different texts.
pub(crate) struct Text<'a> {
    pub(crate) symbols: &'a Symbols,
    /// Number of symbols.
    pub(crate) length: usize,
    /// Where it stands among the texts that were given, ascending; one at least.
    pub(crate) indices: Vec<u32>,
}

impl<'a> Candidates<'a> {
    /// Prepares texts.
    pub fn new(texts: impl IntoIterator<Item = &'a Symbols>) -> Self {
        Self::with_codes(texts, MOST_CODES)
    }

    /// As `new`, with at most so many codes.
    pub(crate) fn with_codes(
        texts: impl IntoIterator<Item = &'a Symbols>,
        most_codes: usize,
    ) -> Self {
        let mut length = 0;
        let all = texts.into_iter().enumerate().map(|(index, symbols)| {
            length += 1;
            (symbols, index as u32)
        });
        let mut sorted: Vec<(&Symbols, u32)> = all.collect();
        // Equal texts become neighbours, the first of them first.
        sorted.sort_unstable_by(|(a, i), (b, j)| {
            let order = a.len().cmp(&b.len());
            order
                .then_with(|| compare(&a.values, &b.values))
                .then(i.cmp(j))
        });
        let mut texts: Vec<Text> = Vec::new();
        for (symbols, index) in sorted {
            match texts.last_mut() {
                Some(last) if last.symbols.values == symbols.values => last.indices.push(index),
                _ => texts.push(Text {
                    symbols,
                    length: symbols.len(),
                    indices: vec![index],
                }),
            }
        }
        texts.sort_unstable_by_key(|text| (text.length, text.indices[0]));
        Self {
            texts,
            tables: OnceLock::new(),
            most_codes,
            length,
        }
    }

    /// Codes and histograms of all texts.
    pub(crate) fn tables(&self) -> &Tables {
        self.tables
            .get_or_init(|| Tables::new(&self.texts, self.most_codes))
    }

    /// How many texts were given.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many of them are different.
    pub fn different(&self) -> usize {
        self.texts.len()
    }

    /// Begins to ask, with the best instructions of this processor.
    pub fn search(&self) -> Search<'_> {
        Search::new(self, Instructions::best())
    }

    /// Begins to ask with given instructions, to compare them.
    ///
    /// # Panics
    /// If this processor does not have them.
    pub fn search_with(&self, instructions: Instructions) -> Search<'_> {
        assert!(
            instructions.available(),
            "{instructions:?} is not available"
        );
        Search::new(self, instructions)
    }
}

/// An order of texts of one length in which equal ones are neighbours.
fn compare(a: &Values, b: &Values) -> std::cmp::Ordering {
    match (a, b) {
        (Values::Narrow(a), Values::Narrow(b)) => a.cmp(b),
        (Values::Wide(a), Values::Wide(b)) => a.cmp(b),
        (Values::Narrow(_), Values::Wide(_)) => std::cmp::Ordering::Less,
        (Values::Wide(_), Values::Narrow(_)) => std::cmp::Ordering::Greater,
    }
}

/// Small numbers for the symbols of all texts.
pub(crate) struct Alphabet {
    /// Codes of 256 symbols each; 0 = has none. The first page is that of the symbols below 256.
    pages: Vec<[u16; PAGE]>,
    /// Which page is that of a symbol, by the symbol over 256.
    page_of: BTreeMap<u32, usize>,
    /// Codes given, 0 among them.
    codes: usize,
    most: usize,
}

const PAGE: usize = 256;

impl Alphabet {
    fn new(most: usize) -> Self {
        Self {
            pages: vec![[0; PAGE]],
            page_of: BTreeMap::from([(0, 0)]),
            codes: 1,
            most,
        }
    }

    /// Number of codes, 0 among them.
    pub(crate) fn codes(&self) -> usize {
        self.codes
    }

    /// The codes of symbols below 256; 0 = has none.
    pub(crate) fn narrow(&self) -> &[u16; PAGE] {
        &self.pages[0]
    }

    /// The codes of symbols; 0 = has none.
    pub(crate) fn wide<'a>(&'a self, symbols: &'a [u32]) -> impl Iterator<Item = u16> + 'a {
        const NONE: &[u16; PAGE] = &[0; PAGE];
        // Neighbours are mostly of one script, so of one page.
        let (mut number, mut page) = (0, self.narrow());
        symbols.iter().map(move |&symbol| {
            if symbol / PAGE as u32 != number {
                number = symbol / PAGE as u32;
                page = self
                    .page_of
                    .get(&number)
                    .map_or(NONE, |&page| &self.pages[page]);
            }
            page[symbol as usize % PAGE]
        })
    }

    /// Appends the codes of a text; false if a symbol got none.
    fn encode(&mut self, symbols: &Symbols, codes: &mut Vec<u16>) -> bool {
        let start = codes.len();
        // Most texts bring nothing new.
        match &symbols.values {
            Values::Narrow(values) => {
                let page = self.narrow();
                codes.extend(values.iter().map(|&value| page[value as usize]));
            }
            Values::Wide(values) => codes.extend(self.wide(values)),
        }
        if codes[start..].contains(&0) {
            for (code, symbol) in codes[start..].iter_mut().zip(symbols.by_value()) {
                if *code == 0 {
                    let Some(new) = self.add(symbol) else {
                        return false;
                    };
                    *code = new;
                }
            }
        }
        true
    }

    /// The code of a symbol, a new one if it has none.
    fn add(&mut self, symbol: u32) -> Option<u16> {
        let next = self.pages.len();
        let page = *self.page_of.entry(symbol / PAGE as u32).or_insert(next);
        if page == next {
            self.pages.push([0; PAGE]);
        }
        let code = &mut self.pages[page][symbol as usize % PAGE];
        if *code == 0 {
            if self.codes > self.most {
                return None;
            }
            *code = self.codes as u16;
            self.codes += 1;
        }
        Some(*code)
    }
}
