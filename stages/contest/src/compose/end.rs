//! How a composed list problem ends: with one number, or with a list in some order.
//!
//! `reduce.rs` has the endings with one number; `lists.rs` draws, `render.rs` writes.

use super::reduce::{Ending, Steps, literal};

/// In which order the numbers are printed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Order {
    AsIs,
    Reversed,
    Sorted,
    Descending,
    Distinct,
    First(usize),
    Smallest(usize),
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AsIs => "as-is",
            Self::Reversed => "reversed",
            Self::Sorted => "sorted",
            Self::Descending => "descending",
            Self::Distinct => "distinct",
            Self::First(_) => "first",
            Self::Smallest(_) => "smallest",
        }
    }

    pub(super) fn words(self, numbers: &str) -> String {
        match self {
            Self::AsIs => format!("{numbers} in their given order"),
            Self::Reversed => format!("{numbers} in reverse order (the last one first)"),
            Self::Sorted => format!("{numbers} in increasing order"),
            Self::Descending => format!("{numbers} in decreasing order"),
            Self::Distinct => format!("{numbers} in increasing order, every value once"),
            Self::First(k) => format!("the first {k} of {numbers} (all if there are fewer)"),
            Self::Smallest(k) => format!(
                "the {k} smallest of {numbers} in increasing order (all if there are fewer)"
            ),
        }
    }

    pub(super) fn apply(self, mut b: Vec<i64>) -> Vec<i64> {
        match self {
            Self::AsIs => {}
            Self::Reversed => b.reverse(),
            Self::Sorted => b.sort_unstable(),
            Self::Descending => b.sort_unstable_by(|x, y| y.cmp(x)),
            Self::Distinct => {
                b.sort_unstable();
                b.dedup();
            }
            Self::First(k) => b.truncate(k),
            Self::Smallest(k) => {
                b.sort_unstable();
                b.truncate(k);
            }
        }
        b
    }

    pub(super) fn python(self) -> String {
        match self {
            Self::AsIs => "b".to_owned(),
            Self::Reversed => "b[::-1]".to_owned(),
            Self::Sorted => "sorted(b)".to_owned(),
            Self::Descending => "sorted(b, reverse=True)".to_owned(),
            Self::Distinct => "sorted(set(b))".to_owned(),
            Self::First(k) => format!("b[:{k}]"),
            Self::Smallest(k) => format!("sorted(b)[:{k}]"),
        }
    }

    pub(super) fn cpp(self) -> String {
        let sort = "sort(b.begin(), b.end());\n";
        let cut = |k: usize| format!("if (b.size() > {k}) b.resize({k});\n");
        match self {
            Self::AsIs => String::new(),
            Self::Reversed => "reverse(b.begin(), b.end());\n".to_owned(),
            Self::Sorted => sort.to_owned(),
            Self::Descending => "sort(b.rbegin(), b.rend());\n".to_owned(),
            Self::Distinct => format!("{sort}b.erase(unique(b.begin(), b.end()), b.end());\n"),
            Self::First(k) => cut(k),
            Self::Smallest(k) => sort.to_owned() + &cut(k),
        }
    }

    pub(super) fn mistakes(self) -> Vec<(&'static str, Self)> {
        match self {
            Self::AsIs => vec![
                ("wrong order", Self::Sorted),
                ("wrong order", Self::Reversed),
            ],
            Self::Reversed => vec![
                ("forgot to reverse", Self::AsIs),
                ("sorts instead", Self::Descending),
            ],
            Self::Sorted => vec![
                ("forgot to sort", Self::AsIs),
                ("wrong order", Self::Descending),
            ],
            Self::Descending => vec![
                ("wrong order", Self::Sorted),
                ("reverses instead", Self::Reversed),
            ],
            Self::Distinct => vec![("keeps repeated values", Self::Sorted)],
            Self::First(k) => vec![
                ("off by one", Self::First(k + 1)),
                ("sorts first", Self::Smallest(k)),
            ],
            Self::Smallest(k) => vec![
                ("forgot to sort", Self::First(k)),
                ("off by one", Self::Smallest(k - 1)),
            ],
        }
    }
}

/// What happens to the numbers that come out of the pipe.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Reduce(Ending),
    Print(Order, Option<&'static str>),
}

impl End {
    pub(super) fn of(self, values: Vec<i64>) -> String {
        match self {
            Self::Reduce(ending) => ending.of(&values),
            Self::Print(_, default) if values.is_empty() => default.unwrap_or("").to_owned(),
            Self::Print(order, _) => {
                let all: Vec<_> = order
                    .apply(values)
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                all.join(" ")
            }
        }
    }

    pub(super) fn python_list(self, joined: bool) -> String {
        match self {
            Self::Reduce(ending) => ending.python_list("b"),
            Self::Print(order, default) => {
                let list = order.python();
                let print = if joined {
                    format!("print(\" \".join(map(str, {list})))")
                } else {
                    format!("print(*{list})")
                };
                default.map_or(print.clone(), |default| {
                    format!("if b:\n    {print}\nelse:\n    print({})", literal(default))
                })
            }
        }
    }

    pub(super) fn python_steps(self, y: &str) -> Steps {
        match self {
            Self::Reduce(ending) => ending.python_steps(y),
            Self::Print(..) => Steps {
                before: "b = []".to_owned(),
                within: format!("b.append({y})"),
                after: self.python_list(false),
            },
        }
    }

    pub(super) fn cpp_list(self, kind: &str) -> String {
        match self {
            Self::Reduce(ending) => ending.cpp_list("b", kind),
            Self::Print(order, default) => {
                let nothing = default.map_or_else(String::new, |default| {
                    format!("if (b.empty()) cout << {};\n", literal(default))
                });
                format!(
                    "{}{nothing}for ({kind} y : b) cout << y << \" \";\ncout << endl;",
                    order.cpp()
                )
            }
        }
    }

    pub(super) fn cpp_steps(self, y: &str, kind: &str) -> Steps {
        match self {
            Self::Reduce(ending) => ending.cpp_steps(y, kind),
            Self::Print(..) => Steps {
                before: format!("vector<{kind}> b;"),
                within: format!("b.push_back({y});"),
                after: self.cpp_list(kind),
            },
        }
    }

    pub(super) fn mistakes(self) -> Vec<(&'static str, Self)> {
        match self {
            Self::Reduce(ending) => {
                let all = ending.reduce.mistakes().into_iter();
                all.map(|(kind, reduce)| (kind, Self::Reduce(ending.with(reduce))))
                    .collect()
            }
            Self::Print(order, default) => {
                let all = order.mistakes().into_iter();
                let mut all: Vec<_> = all
                    .map(|(kind, order)| (kind, Self::Print(order, default)))
                    .collect();
                if default.is_some() {
                    all.push(("forgot the empty case", Self::Print(order, None)));
                }
                all
            }
        }
    }

    /// Only a loop makes this mistake.
    pub(super) fn loop_only(self) -> bool {
        matches!(self, Self::Reduce(ending) if ending.reduce.loop_only())
    }

    /// Something goes wrong where nothing is left.
    pub(super) fn fears_nothing(self) -> bool {
        match self {
            Self::Reduce(ending) => ending.default.is_none() && ending.reduce.needs_default(),
            Self::Print(_, default) => default.is_none(),
        }
    }
}
