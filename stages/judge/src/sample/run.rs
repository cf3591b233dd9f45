//! The work of `sample`: what is missing is asked, then all rows are put in order.
//!
//! Used by the stage. Memory is that of the prompts, the unfinished shards and one problem's rows.

use super::asking::{Ask, Asking};
use super::collect::Collector;
use super::earlier::{self, Problems};
use super::here::Here;
use super::hints::Hinter;
use super::requests::{Asked, Unit, shards, units};
use super::server::Servers;
use super::{Engine, How, What};
use anyhow::{Context as _, Result, ensure};
use corpus::schema::Generation;
use corpus::table::{Table, TableWriter};
use engine::{Ctx, Shards};
use std::collections::BTreeMap;
use std::ops::Range;

/// Reads the inputs, samples, writes the output.
pub(super) fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
    let problems = read_problems(what, ctx)?;
    let asking = Asking::new(what, ctx)?;
    let there = match ctx.input_optional("earlier") {
        Some(path) => earlier::counts(path, &ctx.label("earlier"), &what.languages)?,
        None => BTreeMap::new(),
    };
    let hinter = Hinter::new(&what.hints, &ctx.inputs("problems"), ctx.seed())?;
    let units = units(&problems, what.samples, &what.languages, &there, &hinter);
    let cuts = shards(&units);
    let pieces = ctx.shards(cuts.len())?;
    ask(what, how, ctx, &asking, (&units, &cuts), &pieces, &problems)?;
    write(what, ctx, &pieces, &problems)
}

/// Draws the missing shards.
fn ask(
    what: &What,
    how: &How,
    ctx: &Ctx,
    asking: &Asking,
    (units, cuts): (&[Unit<'_>], &[Range<usize>]),
    pieces: &Shards,
    problems: &[Asked],
) -> Result<()> {
    let missing = pieces.missing();
    let sizes = missing.iter().map(|&shard| {
        let units = &units[cuts[shard].clone()];
        (shard, units.iter().map(|unit| unit.samples).sum())
    });
    let collector = Collector::new(pieces, sizes.collect(), ctx);
    let mut asks = Vec::new();
    for &shard in &missing {
        for (place, unit) in units[cuts[shard].clone()].iter().enumerate() {
            match asking.prompt(unit, ctx)? {
                Some(prompt) => asks.push(Ask {
                    unit,
                    prompt,
                    shard,
                    place,
                }),
                // Every problem has all its rows: what cannot be asked counts as unanswered.
                None => (0..unit.samples)
                    .try_for_each(|index| collector.add(shard, place, unit.unanswered(index)))?,
            }
        }
    }
    if !asks.is_empty() {
        match what.engine {
            Engine::Iota => {
                let here = Here::new(what, how, asking, ctx)?;
                check_earlier(&here, what, ctx, asking, problems)?;
                here.draw(&asks, asking, &collector)?;
            }
            Engine::Server => {
                Servers::new(what, how, asking, ctx)?.draw(&asks, asking, &collector)?;
            }
        }
    }
    collector.finish()
}

/// Draws the first sample of `earlier` again: generations of another model or of other settings
/// are not the beginning of these.
fn check_earlier(
    here: &Here,
    what: &What,
    ctx: &Ctx,
    asking: &Asking,
    problems: &[Asked],
) -> Result<()> {
    let Some(path) = ctx.input_optional("earlier") else {
        return Ok(());
    };
    let label = ctx.label("earlier");
    let answered =
        |row: &Result<Generation>| row.as_ref().map_or(true, |r| !r.token_ids.is_empty());
    let mut rows = Table::<Generation>::open(path, &label)?.rows()?;
    let Some(row) = rows.find(answered).transpose()? else {
        return Ok(());
    };
    let problem = problems.iter().find(|p| p.problem_id == row.problem_id);
    let problem = problem.with_context(|| {
        format!(
            "{label} has samples of {}, which this node does not ask: bind the generations of \
             the same problems",
            row.problem_id
        )
    })?;
    // Up to the sample that was found: the first of the problem.
    let first = units(
        std::slice::from_ref(problem),
        1,
        &what.languages,
        &BTreeMap::new(),
        &Hinter::new(&what.hints, &ctx.inputs("problems"), ctx.seed())?,
    );
    if let Some(prompt) = asking.prompt(&first[0], ctx)? {
        let ask = Ask {
            unit: &first[0],
            prompt,
            shard: 0,
            place: 0,
        };
        here.check_earlier(&ask, &row.token_ids)?;
    }
    Ok(())
}

fn read_problems(what: &What, ctx: &Ctx) -> Result<Vec<Asked>> {
    let label = ctx.label("problems");
    let mut problems = Vec::new();
    for row in Table::<Asked>::open(ctx.input("problems")?, &label)?.rows()? {
        let row = row?;
        if what.max_problems > 0 && problems.len() as u64 == what.max_problems {
            break;
        }
        if what.split.has(&row.split) {
            problems.push(row);
        }
    }
    ensure!(
        !problems.is_empty(),
        "{label} has no problem of split {:?}: set `split` to \"train\", \"valid\", \"test\" or \"all\"",
        what.split
    );
    Ok(problems)
}

#[derive(Default)]
struct Summary {
    samples: u64,
    tokens: u64,
    stopped: u64,
    earlier: u64,
}

/// Writes earlier rows and those of the shards, problem by problem and in order of their number.
fn write(what: &What, ctx: &Ctx, pieces: &Shards, problems: &[Asked]) -> Result<()> {
    let mut writer = TableWriter::create(&ctx.output("generations"))?;
    let mut summary = Summary::default();
    let drawn = (0..pieces.count()).flat_map(|index| {
        let rows = Table::<Generation>::open(&pieces.path(index), "a finished shard")
            .and_then(|table| table.rows());
        let (rows, error) = match rows {
            Ok(rows) => (Some(rows), None),
            Err(error) => (None, Some(Err(error))),
        };
        rows.into_iter().flatten().chain(error)
    });
    let mut drawn = Problems::new(drawn);
    let label = ctx.label("earlier");
    let mut earlier = match ctx.input_optional("earlier") {
        Some(path) => Some(Problems::new(
            Table::<Generation>::open(path, &label)?.rows()?,
        )),
        None => None,
    };
    for problem in problems {
        let mut rows = match &mut earlier {
            Some(earlier) => earlier.of(&problem.problem_id)?,
            None => Vec::new(),
        };
        rows.retain(|row| u64::from(row.sample) < what.samples);
        summary.earlier += rows.len() as u64;
        rows.extend(drawn.of(&problem.problem_id)?);
        rows.sort_by_key(|row| row.sample);
        ensure!(
            rows.len() as u64 == what.samples,
            "{} has {} samples where there should be {}: is {label} in the order of the problems?",
            problem.problem_id,
            rows.len(),
            what.samples
        );
        for row in rows {
            summary.samples += 1;
            summary.tokens += row.token_ids.len() as u64;
            summary.stopped += u64::from(row.finish == "stop");
            writer.push(row)?;
        }
    }
    if let Some(earlier) = earlier {
        earlier.finish(&label)?;
    }
    writer.finish()?;
    ctx.metric("problems", problems.len() as f64);
    ctx.metric("samples", summary.samples as f64);
    ctx.metric("earlier_samples", summary.earlier as f64);
    ctx.metric("tokens", summary.tokens as f64);
    ctx.metric(
        "stopped_share",
        summary.stopped as f64 / summary.samples.max(1) as f64,
    );
    Ok(())
}
