//! A filter and a map, in either order: the middle of the composed list problems.
//!
//! `lists.rs` draws pipes, `render.rs` writes them down, `slips.rs` gets them wrong.

use std::collections::BTreeSet;

use super::parts::{Filter, Map};
use crate::draw::Draw;
use crate::family::Draft;

/// Which numbers are chosen, and what becomes of them.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Pipe {
    pub(super) filter: Filter,
    pub(super) map: Map,
    /// The changed numbers are filtered, not the given ones.
    pub(super) late: bool,
    /// Type of the changed numbers in C++.
    pub(super) kind: &'static str,
    /// An error: the first number is left out.
    pub(super) skip_first: bool,
    /// An error: the last number is left out.
    pub(super) skip_last: bool,
}

impl Pipe {
    /// Draws a pipe in which every part matters; the flag says that negatives occur.
    pub(super) fn draw(draw: &mut Draw) -> (Self, bool) {
        loop {
            let filter = Filter::draw(draw);
            let map = Map::draw(draw);
            let late = draw.percent(35) && map != Map::Same && filter.python("x").is_some();
            let pipe = Self {
                filter,
                map,
                late,
                kind: "int",
                skip_first: false,
                skip_last: false,
            };
            let natural = filter.needs_natural() || map.needs_natural();
            let signed = filter.needs_signed() || map.needs_signed();
            if natural && signed || !pipe.well_defined() {
                continue;
            }
            let signed = signed || !natural && draw.percent(60);
            let given: Vec<i64> = if signed {
                (-25..=36).collect()
            } else {
                (0..=61).collect()
            };
            let kept = given.iter().filter(|x| pipe.value(**x).is_some()).count();
            let chosen = filter.python("x").is_none() || (8..=53).contains(&kept);
            let same = Self {
                map: Map::Same,
                ..pipe
            };
            let left: BTreeSet<_> = given.iter().filter_map(|x| pipe.value(*x)).collect();
            let changed = given.iter().filter(|x| {
                let value = pipe.value(**x);
                value.is_some() && value != same.value(**x)
            });
            let changed = changed.count();
            if chosen && left.len() >= 4 && (map == Map::Same || changed >= 5) {
                return (pipe, signed);
            }
        }
    }

    /// Both languages agree on remainders, as no negative number is divided.
    pub(super) fn well_defined(self) -> bool {
        !(self.late && self.filter.needs_natural() && !self.map.stays_natural())
    }

    /// What becomes of one number.
    pub(super) fn value(self, x: i64) -> Option<i64> {
        let new = self.map.apply(x);
        self.filter
            .keeps(if self.late { new } else { x })
            .then_some(new)
    }

    /// What becomes of a list.
    pub(super) fn of(self, a: &[i64]) -> Vec<i64> {
        let (start, step) = self.filter.start();
        let start = start + usize::from(self.skip_first);
        let end = a.len() - usize::from(self.skip_last);
        let places = (start..end.max(start)).step_by(step);
        places.filter_map(|i| self.value(*a.get(i)?)).collect()
    }

    pub(super) fn name(self) -> String {
        if self.late {
            format!("{}>{}", self.map.name(), self.filter.name())
        } else {
            format!("{}>{}", self.filter.name(), self.map.name())
        }
    }

    /// The numbers that come out, in one phrase.
    pub(super) fn words(self) -> String {
        if self.late {
            let changed = self.map.of("all numbers");
            format!("{} among {changed}", self.filter.words())
        } else {
            self.map.of(&self.filter.words())
        }
    }

    pub(super) fn stories(self, draft: Draft, goal: &str) -> Draft {
        let numbers = self.filter.words();
        let each = self.map.instruction("each number");
        if self.late {
            draft
                .story(&format!("@NAME@ has a list of n integers. First {each}. Then keep only {numbers}."))
                .story(&format!("Given n integers, do two steps. Step 1: {each}. Step 2: keep {numbers} and drop the others."))
        } else if self.map == Map::Same {
            draft
                .story(&format!(
                    "@NAME@ has a list of n integers and looks at {numbers} only."
                ))
                .story(&format!("Given n integers, find {goal}."))
        } else if self.filter == Filter::All {
            draft
                .story(&format!(
                    "@NAME@ has a list of n integers. In this list, {each}."
                ))
                .story(&format!(
                    "Given n integers, {each} and look at the new list."
                ))
        } else {
            draft
                .story(&format!("@NAME@ has a list of n integers. First keep only {numbers}. Then {}.", self.map.instruction("each of them")))
                .story(&format!("Given n integers, do two steps. Step 1: keep {numbers} and drop the others. Step 2: {}.", self.map.instruction("each kept number")))
        }
    }

    /// Python: lines before the condition, the condition, the value.
    pub(super) fn python(self, x: &str) -> (String, Option<String>, String) {
        if self.late {
            return (
                format!("y = {}\n", self.map.python(x)),
                self.filter.python("y"),
                "y".to_owned(),
            );
        }
        (String::new(), self.filter.python(x), self.map.python(x))
    }

    /// C++: lines before the condition, the condition, the value.
    pub(super) fn cpp(self, x: &str) -> (String, Option<String>, String) {
        let value = self.map.cpp(x, if self.kind == "int" { "" } else { "LL" });
        if self.late {
            return (
                format!("{} y = {value};\n", self.kind),
                self.filter.cpp("y"),
                "y".to_owned(),
            );
        }
        (String::new(), self.filter.cpp(x), value)
    }

    /// The elements that are looked at, as a Python list.
    pub(super) fn over(self) -> &'static str {
        match self.filter.start() {
            (0, 1) => "a",
            (0, _) => "a[::2]",
            _ => "a[1::2]",
        }
    }

    /// Their indices.
    pub(super) fn indices(self) -> String {
        let end = if self.skip_last { "n - 1" } else { "n" };
        match (self.filter.start(), self.skip_first) {
            ((0, 1), false) => format!("range({end})"),
            ((start, 1), _) => format!("range({}, {end})", start + 1),
            ((start, step), _) => format!("range({start}, {end}, {step})"),
        }
    }
}
