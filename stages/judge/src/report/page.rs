//! The report as a page for a browser: the Markdown text, then the curves of every node.
//!
//! Called by `report.rs`. One file, without scripts and without anything from elsewhere, so that
//! it can be sent to somebody as it is.

use super::curves::{Curves, chart};
use pulldown_cmark::{Options, Parser, html};
use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #2563eb; --rule: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
td, th { border-bottom: 1px solid var(--rule); padding: .25rem .45rem; font-size: 14px; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; } td:first-child { white-space: normal; min-width: 9rem; }
th { vertical-align: bottom; } th:first-child { text-align: left; }
summary { cursor: pointer; font-size: 1.17em; font-weight: bold; margin: 1rem 0 .5rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .75rem; }
figure { margin: 0; } figcaption { font-size: 13px; }
svg { width: 100%; border: 1px solid var(--rule); border-radius: 4px; }
polyline { fill: none; stroke: var(--line); stroke-width: 1.3; } circle { fill: var(--line); }
text { font-size: 10px; fill: currentColor; opacity: .75; }
@media (prefers-color-scheme: dark) { :root { --line: #7aa2ff; } }
";

/// The heading of the last table, as `markdown.rs` writes it.
const PROBLEMS: &str = "\n## Problems\n";

/// The whole page.
pub(super) fn page(markdown: &str, curves: &[Curves]) -> String {
    // The long table comes last, folded: it would hide the curves.
    let (before, rest) = markdown.split_once(PROBLEMS).unwrap_or((markdown, ""));
    let end = rest.find("\n## ").unwrap_or(rest.len());
    let (problems, after) = rest.split_at(end);
    let mut body = html_of(before) + &html_of(after);
    if !curves.is_empty() {
        body.push_str("<h2>Curves</h2>\n");
    }
    for node in curves {
        let name = escaped(&node.name);
        let _ = writeln!(
            body,
            "<details open><summary>{name}</summary>\n<div class=\"charts\">"
        );
        for (metric, points) in &node.metrics {
            let chart = chart(points);
            if !chart.is_empty() {
                let metric = escaped(metric);
                let _ = writeln!(
                    body,
                    "<figure><figcaption>{metric}</figcaption>{chart}</figure>"
                );
            }
        }
        body.push_str("</div></details>\n");
    }
    if !problems.is_empty() {
        let table = html_of(problems);
        let _ = writeln!(
            body,
            "<details><summary>Problems</summary>\n{table}</details>"
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Results</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn html_of(markdown: &str) -> String {
    let mut text = String::new();
    html::push_html(&mut text, Parser::new_ext(markdown, Options::ENABLE_TABLES));
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Curves, page};
    use std::collections::BTreeMap;

    #[test]
    fn the_long_table_is_folded_behind_the_curves() {
        let markdown = "# Results\n\n## Verdicts\n\none\n\n## Problems\n\n| a |\n| --- |\n| 1/2 |\n\n\
                        ## Notes\n\ntwo\n";
        let curves = [Curves {
            name: "PPO".into(),
            metrics: BTreeMap::from([("loss".into(), vec![(0.0, 1.0), (1.0, 0.5)])]),
        }];
        let html = page(markdown, &curves);
        let order = [
            "one",
            "two",
            "<svg",
            "<details><summary>Problems",
            "<td>1/2",
        ];
        let places: Vec<usize> = order
            .iter()
            .map(|part| {
                html.find(part)
                    .unwrap_or_else(|| panic!("no {part} in {html}"))
            })
            .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(!page("# Results\n", &[]).contains("Problems"));
    }
}
