//! Programs and mistakes of a composed list problem.
//!
//! A wrong program is the right style around a mistaken pipe or end, and the meaning of
//! the mistaken pipe tells which test finds it.

use super::end::End;
use super::misread::misreadings;
use super::parts::{Filter, Map};
use super::pipe::Pipe;
use super::reduce::{Ending, Reduce};
use super::render::render;
use crate::draw::Draw;
use crate::family::Draft;
use crate::reader::Reader;
use crate::{Claim, tests};

/// Programs, mistakes, tests: all that follows from a pipe and an end.
pub(super) fn finish(
    mut draft: Draft,
    pipe: Pipe,
    end: End,
    bounds: (i64, i64),
    draw: &mut Draw,
) -> Draft {
    let mut styles = vec!["loop", "comprehension", "cpp-loop", "cpp-vector"];
    for (style, percent) in [
        ("index", 70),
        ("two-steps", 40),
        ("function", 30),
        ("lambda", 30),
        ("cpp-index", 40),
    ] {
        if draw.percent(percent) {
            styles.push(style);
        }
    }
    if matches!(end, End::Print(..)) {
        // It would be the loop again.
        styles.retain(|style| *style != "cpp-vector");
    }
    for style in &styles {
        let source = render(style, pipe, end);
        draft = if style.starts_with("cpp") {
            draft.cpp(style, &source)
        } else {
            draft.python(style, &source)
        };
    }
    if let Some(constant) = pipe.filter.constant() {
        draft = draft.constant("KEEP", constant);
    }
    if let Some(constant) = pipe.map.constant() {
        draft = draft.constant("CHANGE", constant);
    }
    let signed = bounds.0 < 0;
    let filter = pipe.filter;
    draft = draft
        .answer(move |input| end.of(pipe.of(&Reader::new(input).list())))
        .special(move |draw, size| {
            let n = tests::count(1, 20, size, draw);
            let a = (0..n).map(|_| {
                let x = filter.edge(draw);
                (if signed { x } else { x.abs() }).to_string()
            });
            format!("{n}\n{}", a.collect::<Vec<_>>().join(" "))
        });
    if pipe.kind != "int" {
        draft = draft.must(format!("5\n{0} {0} {0} {0} {0}", bounds.1));
        draft = overflow(draft, pipe, end);
    }
    let mut wrongs = mistakes(pipe, end);
    wrongs.extend(misreadings(pipe, end, signed, &mut draw.child("misread")));
    for (kind, wrong, wrong_end) in wrongs {
        for cpp in [false, true] {
            if cpp && draw.percent(55) && wrong.filter != Filter::OddNaive {
                continue;
            }
            let skips = wrong.skip_first || wrong.skip_last;
            let fits = |style: &&&str| {
                style.starts_with("cpp") == cpp
                    && (!skips || style.ends_with("index"))
                    && (!wrong_end.loop_only()
                        || style.ends_with("loop")
                        || style.ends_with("index"))
                    && (cpp || wrong.filter != Filter::OddNaive)
            };
            let fitting: Vec<_> = styles.iter().filter(fits).collect();
            if !fitting.is_empty() {
                let style = fitting[draw.index(fitting.len())];
                let (right, source) = (render(style, pipe, end), render(style, wrong, wrong_end));
                if right != source {
                    let model =
                        move |input: &str| wrong_end.of(wrong.of(&Reader::new(input).list()));
                    draft = draft.wrong(
                        style,
                        kind,
                        Claim::WrongAnswer,
                        &[(&right, &source)],
                        Some(Box::new(model)),
                    );
                }
            }
        }
    }
    small_slips(draft, pipe, end, &styles)
}

/// Slips that are not a matter of the parts.
fn small_slips(mut draft: Draft, pipe: Pipe, end: End, styles: &[&str]) -> Draft {
    let End::Reduce(ending) = end else {
        return draft;
    };
    if matches!(ending.reduce, Reduce::Sum | Reduce::Count) {
        draft = draft.bug("loop", "wrong initial value", "ans = 0", "ans = 1");
    }
    let steps = pipe.filter.start().1;
    if styles.contains(&"index") && steps == 1 && ending.reduce != Reduce::First {
        draft = draft.crash("index", "index out of range", "range(n)", "range(n + 1)");
    }
    if let Some(default) = ending.default {
        let (right, wrong) = (
            render("comprehension", pipe, end),
            Ending {
                default: None,
                ..ending
            },
        );
        let source = render("comprehension", pipe, End::Reduce(wrong));
        let model = move |input: &str| wrong.of(&pipe.of(&Reader::new(input).list()));
        draft = draft.wrong(
            "comprehension",
            "forgot the empty case",
            Claim::RuntimeError,
            &[(&right, &source)],
            Some(Box::new(model)),
        );
        let other = if default == "0" { "-1" } else { "0" };
        let wrong = Ending {
            default: Some(other),
            ..ending
        };
        let source = render("loop", pipe, End::Reduce(wrong));
        let right = render("loop", pipe, end);
        let model = move |input: &str| wrong.of(&pipe.of(&Reader::new(input).list()));
        draft = draft.wrong(
            "loop",
            "wrong value for the empty case",
            Claim::WrongAnswer,
            &[(&right, &source)],
            Some(Box::new(model)),
        );
    }
    draft
}

fn overflow(draft: Draft, pipe: Pipe, end: End) -> Draft {
    let right = render("cpp-loop", pipe, end);
    let narrow = right.replace("long long ans", "int ans");
    let model = move |input: &str| {
        let sum: i64 = pipe.of(&Reader::new(input).list()).iter().sum();
        (sum as i32).to_string()
    };
    draft.wrong(
        "cpp-loop",
        "integer overflow",
        Claim::WrongAnswer,
        &[(&right, &narrow)],
        Some(Box::new(model)),
    )
}

/// All mistaken pipes and ends.
fn mistakes(pipe: Pipe, end: End) -> Vec<(&'static str, Pipe, End)> {
    let mut all = Vec::new();
    let mut filters = pipe.filter.mistakes();
    if pipe.filter != Filter::All {
        filters.push(("forgot the filter", Filter::All));
    }
    if pipe.filter == Filter::Odd {
        filters.push(("remainder of a negative number", Filter::OddNaive));
    }
    let fears = end.fears_nothing();
    for (kind, filter) in filters {
        let late = pipe.late && filter.python("x").is_some();
        if !(fears && filter.may_be_empty()) {
            all.push((
                kind,
                Pipe {
                    filter,
                    late,
                    ..pipe
                },
                end,
            ));
        }
    }
    for (kind, map) in pipe.map.mistakes() {
        let average = matches!(end, End::Reduce(ending) if ending.reduce == Reduce::Average);
        let late = pipe.late && map != Map::Same;
        if map.stays_natural() || !average {
            all.push((kind, Pipe { map, late, ..pipe }, end));
        }
    }
    if pipe.map != Map::Same && pipe.filter.python("x").is_some() {
        all.push((
            "wrong order of steps",
            Pipe {
                late: !pipe.late,
                ..pipe
            },
            end,
        ));
    }
    let brittle = matches!(end, End::Reduce(ending) if matches!(ending.reduce, Reduce::Average | Reduce::Spread));
    if pipe.filter.start() == (0, 1) && !(fears && brittle) {
        all.push((
            "off by one",
            Pipe {
                skip_first: true,
                ..pipe
            },
            end,
        ));
        all.push((
            "off by one",
            Pipe {
                skip_last: true,
                ..pipe
            },
            end,
        ));
    }
    for (kind, end) in end.mistakes() {
        all.push((kind, pipe, end));
    }
    all.retain(|(_, pipe, _)| pipe.well_defined());
    all
}
