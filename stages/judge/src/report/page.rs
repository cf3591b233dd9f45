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
td, th { border-bottom: 1px solid var(--rule); padding: .25rem .6rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .75rem; }
figure { margin: 0; } figcaption { font-size: 13px; }
svg { width: 100%; border: 1px solid var(--rule); border-radius: 4px; }
polyline { fill: none; stroke: var(--line); stroke-width: 1.3; } circle { fill: var(--line); }
text { font-size: 10px; fill: currentColor; opacity: .75; }
@media (prefers-color-scheme: dark) { :root { --line: #7aa2ff; } }
";

/// The whole page.
pub(super) fn page(markdown: &str, curves: &[Curves]) -> String {
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(markdown, Options::ENABLE_TABLES));
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
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>Results</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
