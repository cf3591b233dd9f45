//! Composed list problems: choose numbers, change them, then reduce or print them.
//!
//! A [`Pipe`] (filter and map, in either order) and an [`End`] make a problem; `slips.rs`
//! adds the right and the wrong programs.

use super::end::{End, Order};
use super::parts::{Filter, Map};
use super::pipe::Pipe;
use super::reduce::{Ending, Reduce, draw_default};
use super::slips::finish;
use crate::draw::Draw;
use crate::family::{Draft, Family, composed};
use crate::shape::Shape;

pub(super) const FAMILIES: &[Family] = &[
    composed("filter-map-reduce", filter_map_reduce),
    composed("map-then-print-list", map_then_print_list),
];

fn difficulty(pipe: Pipe) -> i64 {
    1 + i64::from(pipe.map != Map::Same && pipe.filter != Filter::All)
}

fn filter_map_reduce(draw: &mut Draw) -> Draft {
    let (mut pipe, signed) = Pipe::draw(draw);
    let reduce = loop {
        let reduce = Reduce::draw(draw);
        let trivial = match reduce {
            // The map would not matter, or nothing would.
            Reduce::Count => pipe.filter == Filter::All || !pipe.late && pipe.map != Map::Same,
            Reduce::First | Reduce::Last => {
                pipe.filter == Filter::All || pipe.filter == Filter::OddPlaces
            }
            Reduce::Average => signed || !pipe.map.stays_natural(),
            _ => false,
        };
        if !trivial {
            break reduce;
        }
    };
    let growing = matches!(
        pipe.map,
        Map::Same | Map::Square | Map::Times(_) | Map::Plus(_) | Map::Abs
    );
    let wide = reduce == Reduce::Sum && growing && draw.percent(50);
    let high = if !wide {
        1000
    } else if pipe.map == Map::Square {
        1_000_000
    } else {
        1_000_000_000
    };
    if wide {
        pipe.kind = "long long";
    }
    let bounds = (if signed { -high } else { 0 }, high);
    let ending = Ending::draw(reduce, pipe.filter.may_be_empty(), draw);
    let goal = reduce.words(&pipe.words());
    let mut draft = Draft::new(
        Shape::list(60, bounds.0, bounds.1),
        &["implementation"],
        difficulty(pipe),
    )
    .made_of(&format!("{}>{}", pipe.name(), reduce.name()))
    .asks(&format!("{goal}{}", ending.clause("there are none")))
    .asks(&format!(
        "{}{}",
        reduce.words("the resulting numbers"),
        ending.clause("no number is left")
    ));
    if pipe.filter == Filter::All || pipe.map == Map::Same {
        draft.asks.truncate(1);
    }
    if let Some(default) = ending.default {
        draft = draft.constant("NOTHING", default);
    }
    draft = pipe.stories(draft, &goal);
    finish(draft, pipe, End::Reduce(ending), bounds, draw)
}

fn map_then_print_list(draw: &mut Draw) -> Draft {
    let (pipe, signed) = Pipe::draw(draw);
    let k = draw.range(2, 5) as usize;
    let order = draw.one(&[
        Order::AsIs,
        Order::AsIs,
        Order::Reversed,
        Order::Sorted,
        Order::Descending,
        Order::Distinct,
        Order::First(k),
        Order::Smallest(k),
    ]);
    let default = pipe.filter.may_be_empty().then(|| draw_default(draw));
    let goal = order.words(&pipe.words());
    let clause = |nothing: &str| {
        default.map_or_else(String::new, |word| format!(", or {word} if {nothing}"))
    };
    let bounds = (if signed { -1000 } else { 0 }, 1000);
    let mut draft = Draft::new(
        Shape::list(30, bounds.0, bounds.1),
        &["implementation"],
        difficulty(pipe),
    )
    .made_of(&format!("{}>{}", pipe.name(), order.name()))
    .asks(&format!(
        "{goal}, separated by spaces{}",
        clause("there are none")
    ))
    .asks(&format!(
        "{}, separated by spaces{}",
        order.words("the resulting numbers"),
        clause("no number is left")
    ));
    if let Some(default) = default {
        draft = draft.constant("NOTHING", default);
    }
    if let Order::First(k) | Order::Smallest(k) = order {
        draft = draft.constant("MANY", k);
    }
    draft = pipe.stories(draft, &goal);
    finish(draft, pipe, End::Print(order, default), bounds, draw)
}
