//! `iota ls`: everything that has a name.

use super::{open, say};
use crate::{
    args::{Args, LsArgs},
    exit::Exit,
    render::human,
};

pub(super) fn list(args: &Args, list: &LsArgs) -> anyhow::Result<Exit> {
    let store = open(args)?;
    for (recipe, node) in store.linked()? {
        if list.recipe.as_ref().is_some_and(|wanted| *wanted != recipe) {
            continue;
        }
        let Some(trace) = store.linked_trace(&recipe, &node)? else {
            continue;
        };
        for (output, record) in &trace.outputs {
            if list.json {
                say!(
                    "{}",
                    serde_json::json!({
                        "v": 1, "recipe": recipe, "node": node, "output": output,
                        "stage": trace.stage, "key": trace.key, "address": record.address,
                        "bytes": record.bytes, "made": trace.started,
                    })
                );
            } else {
                let name = format!("{recipe}/{node}/{output}");
                say!(
                    "{name:<44} {:>10}  {:.16}…  {:.16}",
                    human::bytes(record.bytes),
                    record.address.to_string(),
                    trace.started
                );
            }
        }
    }
    Ok(Exit::Success)
}
