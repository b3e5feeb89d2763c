//! Regular expressions, nearly as `java.util.regex` has them.
//!
//! What Java has and this does not: `\Q..\E`, `\G`, `\R`, `\X`, `\h`, `\v`, `\p{javaLowerCase}` and its like, and unions
//! within a class without `&&` before them. An expression with one of those is refused when it is read. `\d`, `\w` and
//! `\s` mean all of Unicode here and ASCII in Java, which makes no difference in names of topics.

use connect_api::{Error, ErrorKind, Result, Validator};

/// An expression that was understood.
#[derive(Clone, Debug)]
pub struct Regex {
    /// Of the whole text.
    whole: fancy_regex::Regex,
    /// Of a part of it.
    part: fancy_regex::Regex,
}

impl Regex {
    /// Reads an expression; the error says what is wrong with it.
    pub fn new(pattern: &str) -> std::result::Result<Regex, String> {
        // The part first, so that an error is about what the user wrote.
        let part = fancy_regex::Regex::new(pattern).map_err(|error| error.to_string())?;
        let whole = fancy_regex::Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(|error| error.to_string())?;
        Ok(Regex { whole, part })
    }

    /// Whether the whole text is what the expression says. Fails when finding that out takes too long.
    pub fn matches(&self, text: &str) -> Result<bool> {
        self.whole.is_match(text).map_err(too_long)
    }

    /// The text with the first match replaced. `$1`, `${name}` and backslashes mean in `replacement` what they do in Java.
    pub fn replace_first(&self, text: &str, replacement: &str) -> Result<String> {
        let Some(groups) = self.part.captures(text).map_err(too_long)? else { return Ok(text.to_owned()) };
        let Some(all) = groups.get(0) else { return Ok(text.to_owned()) };
        let names: Vec<&str> = self.part.capture_names().flatten().collect();
        Ok([&text[..all.start()], &expand(&groups, &names, replacement)?, &text[all.end()..]].concat())
    }
}

fn too_long(error: fancy_regex::Error) -> Error {
    Error::data(format!("The regular expression takes too long: {error}"))
}

/// Refuses what is no expression.
pub fn validator() -> Validator {
    Validator::check(|value| match value.as_str().map(Regex::new) {
        Some(Err(error)) => Err(format!("Invalid regex: {error}")),
        _ => Ok(()),
    })
}

/// `names` are those of the expression's groups.
fn expand(groups: &fancy_regex::Captures<'_, str>, names: &[&str], replacement: &str) -> Result<String> {
    let illegal = |message: String| Error::new(ErrorKind::Other("java.lang.IllegalArgumentException"), message);
    let group = |number: usize| groups.get(number).map_or("", |group| group.as_str());
    let mut text = String::new();
    let mut rest = replacement.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next() {
                Some(literal) => text.push(literal),
                None => return Err(illegal("character to be escaped is missing".to_owned())),
            },
            '$' if rest.next_if_eq(&'{').is_some() => {
                let mut name = String::new();
                while let Some(letter) = rest.next_if(char::is_ascii_alphanumeric) {
                    name.push(letter);
                }
                if rest.next() != Some('}') {
                    return Err(illegal("named capturing group is missing trailing '}'".to_owned()));
                }
                if !names.contains(&name.as_str()) {
                    return Err(illegal(format!("No group with name {{{name}}}")));
                }
                text.push_str(groups.name(&name).map_or("", |group| group.as_str()));
            }
            '$' => {
                let Some(digit) = rest.next().and_then(|c| c.to_digit(10)) else {
                    return Err(illegal("Illegal group reference".to_owned()));
                };
                let mut number = digit as usize;
                if number >= groups.len() {
                    let kind = ErrorKind::Other("java.lang.IndexOutOfBoundsException");
                    return Err(Error::new(kind, format!("No group {number}")));
                }
                // More digits count as long as there is such a group.
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = number * 10 + digit as usize;
                    if longer >= groups.len() {
                        break;
                    }
                    number = longer;
                    rest.next();
                }
                text.push_str(group(number));
            }
            other => text.push(other),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(pattern: &str, text: &str, replacement: &str) -> std::result::Result<String, String> {
        Regex::new(pattern).unwrap().replace_first(text, replacement).map_err(|error| error.message)
    }

    #[test]
    fn the_whole_text_has_to_match() {
        let matches = |pattern: &str, text: &str| Regex::new(pattern).unwrap().matches(text).unwrap();
        assert!(matches("a|ab", "ab"));
        assert!(!matches("a", "ab"));
        assert!(matches("(?!test-).*", "prod-a") && !matches("(?!test-).*", "test-a"));
        assert!(matches(r"(.)\1", "aa"));
    }

    #[test]
    fn groups_are_put_where_dollars_stand() {
        assert_eq!(replace("(.*)-(.*)", "a-b", "$2.$1"), Ok("b.a".into()));
        assert_eq!(replace("(.*)-(?<x>.*)", "a-b", "${x}\\$$12"), Ok("b$a2".into()));
        assert_eq!(replace("a|ab", "ab", "x"), Ok("xb".into()));
        assert_eq!(replace("(a)|b", "b", "[$1]"), Ok("[]".into()));
        assert_eq!(replace("a", "a", "$1"), Err("No group 1".into()));
        assert_eq!(replace("a", "a", "$"), Err("Illegal group reference".into()));
        assert_eq!(replace("a", "a", "${x}"), Err("No group with name {x}".into()));
        assert_eq!(replace("a", "a", "\\"), Err("character to be escaped is missing".into()));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for bad in ["(", "[a", "*a", "a)", r"\Qa\E"] {
            assert!(Regex::new(bad).is_err(), "{bad}");
        }
    }
}
