//! What a writer makes of a list problem who has not read it well.
//!
//! Unlike the slips of `slips.rs`, which miss a detail, these solve another problem: another
//! condition, another number in it, another change, another question. They are what a model
//! does that has learnt to write programs but not to read, so pairs with them teach reading.

use super::end::{End, Order};
use super::parts::{Filter, Map};
use super::pipe::Pipe;
use super::reduce::Reduce;
use crate::draw::Draw;

/// Draws until `wanted` holds; `None` after so many draws that it hardly ever does.
fn draw_until<T>(
    draw: &mut Draw,
    make: impl Fn(&mut Draw) -> T,
    wanted: impl Fn(&T) -> bool,
) -> Option<T> {
    (0..60).map(|_| make(draw)).find(wanted)
}

/// Misread pipes and ends; `signed` says that negative numbers occur.
pub(super) fn misreadings(
    pipe: Pipe,
    end: End,
    signed: bool,
    draw: &mut Draw,
) -> Vec<(&'static str, Pipe, End)> {
    let mut all = Vec::new();
    let fears = end.fears_nothing();
    let average = matches!(end, End::Reduce(ending) if ending.reduce == Reduce::Average);
    let readable = |filter: &Filter| {
        *filter != pipe.filter
            && !(signed && filter.needs_natural())
            && !(fears && filter.may_be_empty())
    };
    let with_filter = |filter: Filter| Pipe {
        filter,
        late: pipe.late && filter.python("x").is_some(),
        ..pipe
    };
    let same_kind = |filter: &Filter| readable(filter) && filter.name() == pipe.filter.name();
    // A wrong number is by far the most frequent of these errors.
    for _ in 0..3 {
        if let Some(filter) = draw_until(draw, Filter::draw, same_kind) {
            all.push(("another number in the condition", with_filter(filter), end));
        }
    }
    if let Some(filter) = draw_until(draw, Filter::draw, readable) {
        all.push(("another condition", with_filter(filter), end));
    }

    let fits = |map: &Map| {
        *map != pipe.map && !(signed && map.needs_natural()) && (map.stays_natural() || !average)
    };
    let with_map = |map: Map| Pipe {
        map,
        late: pipe.late && map != Map::Same,
        ..pipe
    };
    let same_change = |map: &Map| fits(map) && map.name() == pipe.map.name();
    for _ in 0..3 {
        if let Some(map) = draw_until(draw, Map::draw, same_change) {
            all.push(("another number in the change", with_map(map), end));
        }
    }
    if let Some(map) = draw_until(draw, Map::draw, fits) {
        all.push(("another change", with_map(map), end));
    }

    let other = match end {
        End::Reduce(ending) => {
            let natural = !signed && pipe.map.stays_natural();
            draw_until(draw, Reduce::draw, |reduce| {
                *reduce != ending.reduce
                    && (*reduce != Reduce::Average || natural)
                    && (ending.default.is_some() || !reduce.needs_default())
            })
            .map(|reduce| End::Reduce(ending.with(reduce)))
        }
        End::Print(order, default) => draw_until(
            draw,
            |draw| {
                draw.one(&[
                    Order::AsIs,
                    Order::Reversed,
                    Order::Sorted,
                    Order::Descending,
                    Order::Distinct,
                ])
            },
            |other| *other != order,
        )
        .map(|order| End::Print(order, default)),
    };
    all.extend(other.map(|end| ("another question", pipe, end)));
    all.retain(|(_, pipe, _)| pipe.well_defined());
    all
}
