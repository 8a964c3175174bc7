//! Parses text into a tree, and reports the position of errors.

use crate::codecs::select::expression::Expression;
use crate::codecs::select::owner::Owner;
use crate::codecs::select::pattern::{KeyPattern, Syntax};
use crate::codecs::select::quantity::{Comparison, Quantity, Test};
use crate::codecs::select::term::{Share, Term};
use crate::words::error::{Error, Result};
use crate::words::item::{KEY_LEN_MAX, unescape_bytes};

/// Longest expression in bytes. The nodes of a large ring fit.
pub(super) const TEXT_LEN_MAX: usize = 1 << 20;
/// Deepest nesting of parentheses and `not`.
const DEPTH_MAX: usize = 32;
/// Most terms of an expression.
const TERM_COUNT_MAX: usize = 256;
/// Most globs and regexes of an expression; each may take 1 MiB when compiled.
const PATTERN_COUNT_MAX: usize = 32;

/// What a message tells the user to write when the term is unknown.
const NAMES: &str = "key, prefix, glob, regex, ttl, size, class, idle, flags, sample or owner";

/// Parses an expression.
///
/// # Errors
///
/// - `InvalidInput`: it is malformed or exceeds a bound.
pub(super) fn parse(text: &str) -> Result<Expression> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        term_count: 0,
        pattern_count: 0,
    };
    parser.whole().map_err(|trouble| trouble.of(text))
}

/// What is wrong, and where.
struct Trouble {
    /// Position in bytes.
    at: usize,
    /// Length of the wrong text in bytes; 0 means up to the next space.
    len: usize,
    wanted: String,
}

impl Trouble {
    /// Most letters of an expression that a message shows.
    const SHOWN_MAX: usize = 60;

    /// Makes the error: as much of the expression as needed, the column, the text there,
    /// and what was wanted.
    fn of(self, text: &str) -> Error {
        let before = text.get(..self.at).unwrap_or(text);
        let rest = text.get(self.at..).unwrap_or_default();
        let column = before.chars().count().saturating_add(1);
        let wrong = match self.len {
            0 => rest.split(char::is_whitespace).next().unwrap_or_default(),
            len => rest.get(..len).unwrap_or(rest),
        };
        let place = match wrong {
            "" => "at the end".to_owned(),
            wrong => format!("at column {column}, \"{}\"", Self::shortened(wrong)),
        };
        let allowed = format!("{place}: {}", self.wanted);
        Error::invalid_input("select", Self::shortened(text), allowed)
    }

    fn shortened(text: &str) -> String {
        let mut letters = text.chars();
        let mut shown: String = letters.by_ref().take(Self::SHOWN_MAX).collect();
        if letters.next().is_some() {
            shown.push_str("...");
        }
        shown
    }
}

type Parsed<T> = std::result::Result<T, Trouble>;

struct Parser<'a> {
    text: &'a str,
    /// Number of bytes already parsed.
    at: usize,
    depth: usize,
    term_count: usize,
    pattern_count: usize,
}

/// The operator between a name and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Operator {
    /// Longer operators come first.
    const ALL: [(&'static str, Self); 6] = [
        ("!=", Self::NotEqual),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("=", Self::Equal),
        ("<", Self::Below),
        (">", Self::Above),
    ];
}

/// A value and its position.
struct Value {
    text: String,
    at: usize,
    len: usize,
}

impl Value {
    fn trouble(&self, wanted: impl Into<String>) -> Trouble {
        Trouble {
            at: self.at,
            len: self.len,
            wanted: wanted.into(),
        }
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len);
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        let len = rest.len().saturating_sub(rest.trim_start().len());
        self.skip(len);
    }

    fn trouble<T>(&self, wanted: impl Into<String>) -> Parsed<T> {
        Err(Trouble {
            at: self.at,
            len: 0,
            wanted: wanted.into(),
        })
    }

    /// Returns the letters of the word that starts here, if any.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let is_end = |letter: char| !letter.is_ascii_alphabetic() && letter != '_';
        let end = rest.find(is_end).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// Consumes a joining word if it is next.
    fn takes(&mut self, word: &str) -> bool {
        self.skip_spaces();
        let is_here = self.word() == word;
        if is_here {
            self.skip(word.len());
        }
        is_here
    }

    fn whole(&mut self) -> Parsed<Expression> {
        if self.text.len() > TEXT_LEN_MAX {
            return self.trouble(format!("wanted at most {TEXT_LEN_MAX} bytes"));
        }
        let expression = self.disjunction()?;
        self.skip_spaces();
        match self.rest() {
            "" => Ok(expression),
            rest if rest.starts_with(')') => self.trouble("no parenthesis is open here"),
            _ => self.trouble("wanted and, or, or the end; a value with spaces needs quotes"),
        }
    }

    fn disjunction(&mut self) -> Parsed<Expression> {
        let first = self.conjunction()?;
        let mut parts = vec![first];
        while self.takes("or") {
            parts.push(self.conjunction()?);
        }
        Ok(match <[_; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => Expression::Any(parts),
        })
    }

    fn conjunction(&mut self) -> Parsed<Expression> {
        let first = self.negation()?;
        let mut parts = vec![first];
        while self.takes("and") {
            parts.push(self.negation()?);
        }
        Ok(match <[_; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => Expression::All(parts),
        })
    }

    fn negation(&mut self) -> Parsed<Expression> {
        self.skip_spaces();
        if self.word() == "not" {
            self.enter()?;
            self.skip("not".len());
            let part = self.negation()?;
            self.leave();
            return Ok(Expression::Not(Box::new(part)));
        }
        let open = self.at;
        if !self.rest().starts_with('(') {
            return self.term();
        }
        self.enter()?;
        self.skip(1);
        let inner = self.disjunction()?;
        self.skip_spaces();
        if !self.rest().starts_with(')') {
            if self.rest().is_empty() {
                self.at = open;
                return self.trouble("this parenthesis is not closed");
            }
            return self.trouble("wanted and, or, or ); a value with spaces needs quotes");
        }
        self.skip(1);
        self.leave();
        Ok(inner)
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return self.trouble(format!(
                "more than {DEPTH_MAX} parentheses and not in one another"
            ));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn term(&mut self) -> Parsed<Expression> {
        self.term_count = self.term_count.saturating_add(1);
        if self.term_count > TERM_COUNT_MAX {
            return self.trouble(format!("more than {TERM_COUNT_MAX} terms"));
        }
        let (start, name) = (self.at, self.word());
        if name.is_empty() || ["and", "or"].contains(&name) {
            return self.trouble(format!("wanted a term: {NAMES}, or not, or ("));
        }
        let quantity = Quantity::ALL
            .into_iter()
            .find(|quantity| quantity.name() == name);
        let is_key_term = ["key", "prefix", "glob", "regex", "sample", "owner"].contains(&name);
        if quantity.is_none() && !is_key_term {
            return Err(Trouble {
                at: start,
                len: name.len(),
                wanted: format!("wanted {NAMES}"),
            });
        }
        self.skip(name.len());
        let operator = self.operator(name, quantity.is_some())?;
        let value = self.value(name)?;
        let (term, is_negated) = match quantity {
            Some(quantity) => number_term(quantity, operator, &value)?,
            None => (self.key_term(name, &value)?, operator == Operator::NotEqual),
        };
        let term = Expression::Term(term);
        Ok(if is_negated {
            Expression::Not(Box::new(term))
        } else {
            term
        })
    }

    fn operator(&mut self, name: &str, has_order: bool) -> Parsed<Operator> {
        self.skip_spaces();
        let rest = self.rest();
        let found = Operator::ALL
            .into_iter()
            .find(|(text, _)| rest.starts_with(text));
        let wanted = if has_order {
            format!("wanted =, !=, <, <=, > or >= after {name}")
        } else {
            format!("wanted = or != after {name}")
        };
        match found {
            Some((text, operator @ (Operator::Equal | Operator::NotEqual))) => {
                self.skip(text.len());
                Ok(operator)
            }
            Some((text, operator)) if has_order => {
                self.skip(text.len());
                Ok(operator)
            }
            // For a shell, what follows was not part of the word.
            None if rest.is_empty() && has_order => self.trouble(format!(
                "{wanted}; in a shell, < and > need quotes around all"
            )),
            Some(_) | None => self.trouble(wanted),
        }
    }

    fn value(&mut self, name: &str) -> Parsed<Value> {
        self.skip_spaces();
        let rest = self.rest();
        let value = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            Some(_) | None => self.bare()?,
        };
        if value.len == 0 {
            return self.trouble(format!("wanted a value for {name}"));
        }
        Ok(value)
    }

    /// Parses up to the next quote of this kind; two of them stand for one.
    fn quoted(&mut self, quote: char) -> Parsed<Value> {
        let (start, rest) = (self.at, self.rest());
        let mut text = String::new();
        let mut letters = rest.char_indices().skip(1).peekable();
        while let Some((at, letter)) = letters.next() {
            let is_doubled = matches!(letters.peek(), Some((_, next)) if *next == quote);
            if letter == quote && is_doubled {
                letters.next();
            } else if letter == quote {
                let len = at.saturating_add(1);
                self.skip(len);
                let is_end = |next: char| next.is_whitespace() || next == ')';
                if !self.rest().is_empty() && !self.rest().starts_with(is_end) {
                    return self.trouble(format!(
                        "wanted a space after the quote; within quotes, a {quote} is doubled"
                    ));
                }
                return Ok(Value {
                    text,
                    at: start,
                    len,
                });
            }
            text.push(letter);
        }
        self.trouble("this quote is not closed")
    }

    /// Parses up to a space, or up to a parenthesis that the value did not open.
    fn bare(&mut self) -> Parsed<Value> {
        let (start, rest) = (self.at, self.rest());
        let mut open = Vec::new();
        let mut letters = rest.char_indices();
        let mut len = rest.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '(' => open.push(at),
                ')' if open.pop().is_none() => {
                    len = at;
                    break;
                }
                // The next character is taken literally in a glob or a regex.
                '\\' if !letters.as_str().starts_with(char::is_whitespace) => {
                    letters.next();
                }
                space if space.is_whitespace() => {
                    len = at;
                    break;
                }
                _ => {}
            }
        }
        if let Some(&at) = open.first() {
            self.skip(at);
            return self.trouble(
                "this parenthesis is not closed; if it is part of the value, put \
                                 the value in quotes",
            );
        }
        self.skip(len);
        Ok(Value {
            text: rest.get(..len).unwrap_or_default().to_owned(),
            at: start,
            len,
        })
    }

    fn key_term(&mut self, name: &str, value: &Value) -> Parsed<Term> {
        let text = value.text.as_str();
        Ok(match name {
            "key" => Term::Key(parse_key(value)?),
            "prefix" => Term::Prefix(parse_key(value)?),
            "glob" => Term::Pattern(self.pattern(Syntax::Glob, value)?),
            "regex" => Term::Pattern(self.pattern(Syntax::Regex, value)?),
            "sample" => Term::Sample(Share::parse(text).ok_or_else(|| {
                let wanted = "wanted 0% to 100%, with at most four decimals, such as 5% or 0.01%";
                value.trouble(wanted)
            })?),
            _ => Term::Owner(Owner::parse(text).map_err(|wanted| {
                let form = "OWNER,... or OWNER,.../RING/NODE,...";
                value.trouble(format!("{wanted}, in {form}"))
            })?),
        })
    }

    fn pattern(&mut self, syntax: Syntax, value: &Value) -> Parsed<KeyPattern> {
        self.pattern_count = self.pattern_count.saturating_add(1);
        if self.pattern_count > PATTERN_COUNT_MAX {
            return Err(value.trouble(format!("more than {PATTERN_COUNT_MAX} globs and regexes")));
        }
        KeyPattern::parse(syntax, &value.text).map_err(|reason| value.trouble(reason))
    }
}

fn parse_key(value: &Value) -> Parsed<Vec<u8>> {
    let key = unescape_bytes(&value.text)
        .ok_or_else(|| value.trouble("a backslash is written \\\\, and any byte \\xNN"))?;
    if key.len() > KEY_LEN_MAX {
        return Err(value.trouble(format!("no key is longer than {KEY_LEN_MAX} bytes")));
    }
    Ok(key)
}

/// Makes the term of a number, and returns whether its opposite is meant.
fn number_term(quantity: Quantity, operator: Operator, value: &Value) -> Parsed<(Term, bool)> {
    let text = value.text.as_str();
    let trouble = |text: &str| {
        let shown = Trouble::shortened(text);
        value.trouble(format!("wanted {}, not \"{shown}\"", quantity.wanted()))
    };
    let is_negated = operator == Operator::NotEqual;
    let is_equality = is_negated || operator == Operator::Equal;
    let word = match text {
        "unknown" => Some(Test::Unknown),
        "never" if quantity == Quantity::Ttl => Some(Test::Never),
        _ => None,
    };
    let number = |text: &str| quantity.parse_number(text).ok_or_else(|| trouble(text));
    let test = match (word, text.split_once("..")) {
        (Some(_), _) if !is_equality => {
            return Err(value.trouble(format!("{text} goes with = and != only")));
        }
        (Some(word), _) => word,
        (None, Some(_)) if !is_equality => {
            return Err(value.trouble("a range goes with = and != only"));
        }
        (None, Some(("", ""))) => return Err(trouble(text)),
        (None, Some((least, ""))) => Test::Is(Comparison::AtLeast(number(least)?)),
        (None, Some(("", most))) => Test::Is(Comparison::AtMost(number(most)?)),
        (None, Some((least, most))) => {
            let (least, most) = (number(least)?, number(most)?);
            if least > most {
                return Err(value.trouble("wanted the lesser end of the range first"));
            }
            Test::Is(Comparison::Between(least, most))
        }
        (None, None) => {
            let number = number(text)?;
            Test::Is(match operator {
                Operator::Equal | Operator::NotEqual => Comparison::Equal(number),
                Operator::Below => Comparison::Below(number),
                Operator::AtMost => Comparison::AtMost(number),
                Operator::Above => Comparison::Above(number),
                Operator::AtLeast => Comparison::AtLeast(number),
            })
        }
    };
    Ok((Term::Number(quantity, test), is_negated))
}

/// Checks that the written form of an expression can be parsed again, since joined
/// expressions may exceed a bound together.
///
/// # Errors
///
/// - `InvalidInput`: names the bound and the value that exceeds it.
pub(super) fn check_bounds(expression: &Expression) -> Result<()> {
    let mut bounds = Bounds::default();
    bounds.add(expression, 0);
    for (limit, needed, bound) in [
        ("depth of --select", bounds.depth, DEPTH_MAX),
        ("terms of --select", bounds.term_count, TERM_COUNT_MAX),
        (
            "patterns of --select",
            bounds.pattern_count,
            PATTERN_COUNT_MAX,
        ),
        (
            "length of --select",
            expression.to_string().len(),
            TEXT_LEN_MAX,
        ),
    ] {
        if needed > bound {
            let allowed = format!("the {limit} would be {needed}; the limit is {bound}");
            let shown = Trouble::shortened(&expression.to_string());
            return Err(Error::invalid_input("select", shown, allowed));
        }
    }
    Ok(())
}

/// The values of an expression that have bounds.
#[derive(Debug, Default)]
struct Bounds {
    depth: usize,
    term_count: usize,
    pattern_count: usize,
}

impl Bounds {
    /// Counts as parsing the written form would.
    fn add(&mut self, expression: &Expression, depth: usize) {
        self.depth = self.depth.max(depth);
        let deeper = depth.saturating_add(1);
        match expression {
            Expression::All(parts) => {
                for part in parts {
                    let is_enclosed = matches!(part, Expression::All(_) | Expression::Any(_));
                    self.add(part, if is_enclosed { deeper } else { depth });
                }
            }
            Expression::Any(parts) => {
                for part in parts {
                    let is_enclosed = matches!(part, Expression::Any(_));
                    self.add(part, if is_enclosed { deeper } else { depth });
                }
            }
            Expression::Not(part) => match &**part {
                Expression::Term(term) if term.is_equality() => self.add(part, depth),
                Expression::Term(_) | Expression::Not(_) => self.add(part, deeper),
                Expression::All(_) | Expression::Any(_) => self.add(part, deeper.saturating_add(1)),
            },
            Expression::Term(term) => {
                self.term_count = self.term_count.saturating_add(1);
                let is_pattern = matches!(term, Term::Pattern(_));
                self.pattern_count = self.pattern_count.saturating_add(is_pattern.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        parse(text)
            .unwrap_or_else(|error| panic!("{error}"))
            .to_string()
    }

    #[test]
    fn what_is_read_is_written_in_one_way() {
        for (text, canonical) in [
            ("prefix=user:", "prefix=user:"),
            ("  prefix = user:  ", "prefix=user:"),
            ("ttl > 1h", "ttl>1h"),
            ("ttl>3600", "ttl>1h"),
            ("ttl=1h..", "ttl>=1h"),
            ("ttl=..90m", "ttl<=90m"),
            ("ttl=0..1d", "ttl=0s..1d"),
            ("ttl!=never", "ttl!=never"),
            ("not ttl=never", "ttl!=never"),
            ("not ttl<1h", "not ttl<1h"),
            ("not not class=5", "not class!=5"),
            ("size>=1024", "size>=1KiB"),
            ("flags=0x10", "flags=16"),
            ("sample=05.50%", "sample=5.5%"),
            ("key=a\\\\\\x20b", "key=\"a\\\\ b\""),
            ("prefix=''", "prefix=\"\""),
            ("prefix='it''s'", "prefix=\"it's\""),
            ("prefix='say \"x\"'", "prefix=\"say \"\"x\"\"\""),
            ("glob=a\"b", "glob=\"a\"\"b\""),
            ("prefix=\u{e9}", "prefix=\\xc3\\xa9"),
            ("regex=^(a|b)[0-9]+$", "regex=\"^(a|b)[0-9]+$\""),
            ("(regex=^(a|b)$)", "regex=\"^(a|b)$\""),
            ("(regex=^a\\(b)", "regex=\"^a\\(b\""),
            (
                "owner=a,b:1/modula/a,b:1,c*2",
                "owner=a:11211,b:1/modula/a:11211,b:1,c:11211*2",
            ),
            (
                "class=1 or class=2 and flags=0",
                "class=1 or class=2 and flags=0",
            ),
            (
                "(class=1 or class=2) and flags=0",
                "(class=1 or class=2) and flags=0",
            ),
            (
                "((class=1) or (class=2 and flags=0))",
                "class=1 or class=2 and flags=0",
            ),
            (
                "class=1 or (class=2 or flags=0)",
                "class=1 or (class=2 or flags=0)",
            ),
            (
                "not(prefix=tmp: or ttl<60s)and size<1MiB",
                "not (prefix=tmp: or ttl<1m) and size<1MiB",
            ),
            // `and` and `or` are keywords only where a keyword can stand.
            ("prefix=and or prefix=or", "prefix=and or prefix=or"),
        ] {
            assert_eq!(written(text), canonical, "{text}");
            assert_eq!(written(canonical), canonical);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let names =
            "wanted key, prefix, glob, regex, ttl, size, class, idle, flags, sample or owner";
        for (text, message) in [
            ("", format!("at the end: {}, or not, or (", names.replace("wanted", "wanted a term:"))),
            ("ttl>1h and", format!("at the end: {}, or not, or (", names.replace("wanted", "wanted a term:"))),
            ("ttl>1h AND class=5", "at column 8, \"AND\": wanted and, or, or the end; a value with spaces needs quotes".into()),
            ("perfix=a", format!("at column 1, \"perfix\": {names}")),
            ("\u{e9}", format!("at column 1, \"\u{e9}\": {}, or not, or (", names.replace("wanted", "wanted a term:"))),
            ("ttl", "at the end: wanted =, !=, <, <=, > or >= after ttl; in a shell, < and > need quotes around all".into()),
            ("ttl:1h", "at column 4, \":1h\": wanted =, !=, <, <=, > or >= after ttl".into()),
            ("prefix<a", "at column 7, \"<a\": wanted = or != after prefix".into()),
            ("prefix=", "at the end: wanted a value for prefix".into()),
            ("(prefix=)", "at column 9, \")\": wanted a value for prefix".into()),
            ("class=5 and ttl>ever", "at column 17, \"ever\": wanted a length of time such as 90s, 1h or 7d, a range of two, never or unknown, not \"ever\"".into()),
            ("ttl>never", "at column 5, \"never\": never goes with = and != only".into()),
            ("ttl>1h..2h", "at column 5, \"1h..2h\": a range goes with = and != only".into()),
            ("ttl=2h..1h", "at column 5, \"2h..1h\": wanted the lesser end of the range first".into()),
            ("size=1k..x", "at column 6, \"1k..x\": wanted a number of bytes such as 100, 4KiB or 1MB, a range of two, or unknown, not \"x\"".into()),
            ("size=..", "at column 6, \"..\": wanted a number of bytes such as 100, 4KiB or 1MB, a range of two, or unknown, not \"..\"".into()),
            ("class=256", "at column 7, \"256\": wanted a slab class, 0 to 255, a range of two, or unknown, not \"256\"".into()),
            ("flags=-1", "at column 7, \"-1\": wanted client flags such as 0, 4 or 0x10, a range of two, or unknown, not \"-1\"".into()),
            ("idle=never", "at column 6, \"never\": wanted a length of time such as 90s, 1h or 7d, a range of two, or unknown, not \"never\"".into()),
            ("sample=101%", "at column 8, \"101%\": wanted 0% to 100%, with at most four decimals, such as 5% or 0.01%".into()),
            ("prefix=a\\n", "at column 8, \"a\\n\": a backslash is written \\\\, and any byte \\xNN".into()),
            ("glob=a[", "at column 6, \"a[\": unclosed character class; missing ']'".into()),
            ("regex='a ('", "at column 7, \"'a ('\": unclosed group".into()),
            ("owner=a b", "at column 9, \"b\": wanted and, or, or the end; a value with spaces needs quotes".into()),
            ("owner=", "at the end: wanted a value for owner".into()),
            ("owner=:1", "at column 7, \":1\": wanted a node such as 10.0.0.1:11211, not \":1\", in OWNER,... or OWNER,.../RING/NODE,...".into()),
            ("prefix='a", "at column 8, \"'a\": this quote is not closed".into()),
            ("prefix='a'b", "at column 11, \"b\": wanted a space after the quote; within quotes, a ' is doubled".into()),
            ("(ttl>1h or class=5", "at column 1, \"(ttl>1h\": this parenthesis is not closed".into()),
            ("(ttl>1h class=5)", "at column 9, \"class=5)\": wanted and, or, or ); a value with spaces needs quotes".into()),
            ("ttl>1h)", "at column 7, \")\": no parenthesis is open here".into()),
            ("glob=a(b and ttl>1h", "at column 7, \"(b\": this parenthesis is not closed; if it is part of the value, put the value in quotes".into()),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("select \"{text}\": {message}"));
        }
        let long = format!("{} or x", vec!["class=5"; 20].join(" or "));
        let error = parse(&long).unwrap_err().to_string();
        let shown = &long[..60];
        assert!(
            error.starts_with(&format!(
                "select \"{shown}...\": at column 221, \"x\": wanted key"
            )),
            "{error}"
        );
        let error = parse(&format!("key={}", "k".repeat(251)))
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("...\": no key is longer than 250 bytes"),
            "{error}"
        );
    }

    #[test]
    fn depth_length_and_counts_are_bounded() {
        let nested = |depth: usize| format!("{}class=5{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        let refusal = |text: &str| parse(text).unwrap_err().to_string();
        let deep = "more than 32 parentheses and not in one another";
        assert!(refusal(&nested(DEPTH_MAX + 1)).ends_with(deep));
        assert!(refusal(&nested(400_000)).ends_with(deep));
        assert!(refusal(&"not ".repeat(200_000)).ends_with(deep));
        let many = |term: &str, count: usize| vec![term; count].join(" and ");
        assert!(parse(&many("class=5", TERM_COUNT_MAX)).is_ok());
        assert!(refusal(&many("class=5", TERM_COUNT_MAX + 1)).ends_with("more than 256 terms"));
        assert!(parse(&many("glob=*", PATTERN_COUNT_MAX)).is_ok());
        assert!(
            refusal(&many("glob=*", PATTERN_COUNT_MAX + 1))
                .ends_with("more than 32 globs and regexes")
        );
        let long = format!("key={}", " ".repeat(TEXT_LEN_MAX));
        assert!(refusal(&long).ends_with("wanted at most 1048576 bytes"));
    }

    #[test]
    fn joined_expressions_keep_the_bounds() {
        let read = |text: &str| parse(text).unwrap();
        let joined = read("class=1 or class=2")
            .and(read("flags=0 and size>1"))
            .and(read("ttl<5"));
        assert_eq!(
            joined.to_string(),
            "(class=1 or class=2) and flags=0 and size>1 and ttl<5s"
        );
        assert_eq!(read(&joined.to_string()), joined);
        let many = read(&vec!["class=5"; TERM_COUNT_MAX].join(" or "));
        assert!(check_bounds(&many).is_ok());
        let error = check_bounds(&many.and(read("class=5")))
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("the terms of --select would be 257; the limit is 256"),
            "{error}"
        );
        let opened = "class=1 or (".repeat(DEPTH_MAX);
        let deep = read(&format!(
            "{opened}class=2 or class=3{}",
            ")".repeat(DEPTH_MAX)
        ));
        assert!(check_bounds(&deep).is_ok());
        let error = check_bounds(&deep.and(read("class=5")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("depth of --select"), "{error}");
    }
}
