//! Which paths a source file names, by its text.
//!
//! It knows enough Rust for code that `cargo fmt` has laid out.

/// A path of two or more names, or one that is imported.
#[derive(Debug)]
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) path: String,
    /// It is in a `pub use`, or a `pub(crate) use`.
    pub(crate) is_handed_on: bool,
    /// It is in a `use` inside of a module of the file.
    pub(crate) is_nested: bool,
}

/// The lines with their numbers, without comments.
pub(crate) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let is_comment = line.trim_start().starts_with("//");
        let code = line.split(" // ").next()?;
        (!is_comment).then_some((number, code))
    })
}

/// Returns every path that the code names, with `use` lists taken apart.
pub(crate) fn named_paths(text: &str) -> Vec<NamedPath> {
    let mut paths = Vec::new();
    let mut lines = code_lines(text);
    while let Some((number, line)) = lines.next() {
        let Some(tree) = use_tree(line) else {
            paths.extend(inline_paths(line).map(|path| NamedPath {
                line: number,
                path,
                is_handed_on: false,
                is_nested: false,
            }));
            continue;
        };
        let is_handed_on = line.trim_start().starts_with("pub");
        let is_nested = line.starts_with(' ');
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            let Some((_, more)) = lines.next() else {
                break;
            };
            tree.push(' ');
            tree.push_str(more.trim());
        }
        let tree = without_aliases(tree.split(';').next().unwrap_or_default());
        let mut flat = Vec::new();
        flatten("", &tree, &mut flat);
        paths.extend(flat.into_iter().map(|path| NamedPath {
            line: number,
            path,
            is_handed_on,
            is_nested,
        }));
    }
    paths
}

/// Leaves out the blanks of a list, and the new names of what is renamed.
fn without_aliases(tree: &str) -> String {
    let mut words = tree.split_whitespace();
    let mut made = String::new();
    while let Some(word) = words.next() {
        if word == "as" {
            let alias = words.next().unwrap_or_default();
            made.extend(alias.chars().filter(|letter| ",}".contains(*letter)));
        } else {
            made.push_str(word);
        }
    }
    made
}

/// What follows `use` when the line begins such an item.
fn use_tree(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let item = match line.strip_prefix("pub") {
        Some(public) => match public.strip_prefix('(') {
            Some(scope) => scope.split_once(')')?.1,
            None => public,
        },
        None => line,
    };
    item.trim_start().strip_prefix("use ")
}

/// Turns `a::{b, c::{d, e}}` into `a::b`, `a::c::d`, `a::c::e`.
fn flatten(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, list)) = tree.split_once('{') else {
        paths.push(format!("{prefix}{tree}"));
        return;
    };
    let prefix = format!("{prefix}{head}");
    let list = list.strip_suffix('}').unwrap_or(list);
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                flatten(&prefix, &list[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < list.len() {
        flatten(&prefix, &list[start..], paths);
    }
}

/// Paths of two or more names in a line that is not a `use`.
fn inline_paths(line: &str) -> impl Iterator<Item = String> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    line.split(move |letter| !is_name(letter))
        .filter(|word| word.contains("::"))
        .map(|word| word.trim_matches(':').to_owned())
}
