//! The programs of the composed list problems, in every style.
//!
//! A right program and a wrong one differ only in the pipe and the end that are rendered.

use super::end::{End, Order};
use super::parts::{DIGIT_SUM, Map};
use super::pipe::Pipe;
use super::reduce::indent;

/// One program, in one of the styles.
pub(super) fn render(style: &str, pipe: Pipe, end: End) -> String {
    let within = |setup: &str, condition: Option<String>, step: &str, cpp: bool| match condition {
        Some(condition) if cpp => format!("{setup}if ({condition}) {{\n{}\n}}", indent(step)),
        Some(condition) => format!("{setup}if {condition}:\n{}", indent(step)),
        None => format!("{setup}{step}"),
    };
    if style.starts_with("cpp") {
        let index = style == "cpp-index";
        let (setup, condition, value) = pipe.cpp(if index && pipe.kind == "int" {
            "a[i]"
        } else {
            "x"
        });
        let steps = if style == "cpp-vector" {
            End::Print(Order::AsIs, None).cpp_steps(&value, pipe.kind)
        } else {
            end.cpp_steps(&value, pipe.kind)
        };
        let after = if style == "cpp-vector" {
            end.cpp_list(pipe.kind)
        } else {
            steps.after
        };
        let mut body = within(&setup, condition, &steps.within, true);
        let (start, step) = pipe.filter.start();
        let head = if index || step > 1 {
            if !index || pipe.kind != "int" {
                body = format!("{} x = a[i];\n{body}", pipe.kind);
            }
            let start = start + usize::from(pipe.skip_first);
            let end = if pipe.skip_last { "n - 1" } else { "n" };
            let step = if step > 1 { "i += 2" } else { "i++" };
            format!("for (int i = {start}; i < {end}; {step})")
        } else {
            format!("for ({} x : a)", pipe.kind)
        };
        let functions = if pipe.map == Map::DigitSum {
            DIGIT_SUM
        } else {
            ""
        };
        return format!(
            "{functions}@READ@\n{}\n{head} {{\n{}\n}}\n{after}",
            steps.before,
            indent(&body)
        );
    }
    let (condition, value) = (pipe.filter.python("x"), pipe.map.python("x"));
    let tail = condition
        .clone()
        .map_or_else(String::new, |condition| format!(" if {condition}"));
    let over = pipe.over();
    let made = match style {
        "loop" | "index" => {
            let index = style == "index";
            let (setup, condition, value) = pipe.python(if index { "a[i]" } else { "x" });
            let steps = end.python_steps(&value);
            let body = within(&setup, condition, &steps.within, false);
            let head = if index {
                format!("for i in {}:", pipe.indices())
            } else {
                format!("for x in {over}:")
            };
            return format!(
                "@READ@\n{}\n{head}\n{}\n{}",
                steps.before,
                indent(&body),
                steps.after
            );
        }
        "comprehension" if pipe.late => {
            format!("b = [{value} for x in {over}]\nb = [x for x in b{tail}]")
        }
        "comprehension" => format!("b = [{value} for x in {over}{tail}]"),
        "lambda" => {
            let keep = condition
                .map(|condition| format!("b = list(filter(lambda x: {condition}, SOURCE))"));
            let change = (pipe.map != Map::Same)
                .then(|| format!("b = list(map(lambda x: {value}, SOURCE))"));
            let mut lines: Vec<_> = if pipe.late {
                [change, keep]
            } else {
                [keep, change]
            }
            .into_iter()
            .flatten()
            .collect();
            if lines.is_empty() {
                lines.push("b = list(SOURCE)".to_owned());
            }
            lines[0] = lines[0].replace("SOURCE", over);
            lines.join("\n").replace("SOURCE", "b")
        }
        "two-steps" if pipe.late => format!(
            "c = [{value} for x in {over}]\nb = [y for y in c{}]",
            tail.replace('x', "y")
        ),
        "two-steps" => format!(
            "c = [x for x in {over}{tail}]\nb = [{} for y in c]",
            pipe.map.python("y")
        ),
        "function" => {
            let mut functions = Vec::new();
            let (mut kept, mut changed) = (String::new(), "x".to_owned());
            if let Some(condition) = condition {
                functions.push(format!("def keep(x):\n    return {condition}\n\n"));
                " if keep(x)".clone_into(&mut kept);
            }
            if pipe.map != Map::Same {
                functions.push(format!("def change(x):\n    return {value}\n\n"));
                "change(x)".clone_into(&mut changed);
            }
            let body = if pipe.late {
                format!("b = [{changed} for x in {over}]\nb = [x for x in b{kept}]")
            } else {
                format!("b = [{changed} for x in {over}{kept}]")
            };
            let functions = functions.concat();
            return format!("{functions}@READ@\n{body}\n{}", end.python_list(false));
        }
        _ => unreachable!("no style {style}"),
    };
    format!(
        "@READ@\n{made}\n{}",
        end.python_list(style == "lambda" || style == "two-steps")
    )
}
