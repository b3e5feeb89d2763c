//! Java-style regular expressions over topic and group names, matched as a whole (`String.matches`).
//!
//! A small backtracking matcher: names have at most 249 characters and the pattern comes from the person at the
//! terminal. It knows what such patterns use: classes, groups, alternatives, greedy and lazy repeats, anchors,
//! look-ahead, `\d \w \s \b \Q..\E` and the inline flag `(?i)`. Anything else is refused as an invalid pattern.

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    node: Node,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum Node {
    Char(char),
    Any,
    Class { negated: bool, items: Vec<Item> },
    Start,
    End,
    WordBoundary(bool),
    Look { ahead: Box<Node>, negated: bool },
    Repeat { node: Box<Node>, min: u32, max: u32, lazy: bool },
    Sequence(Vec<Node>),
    Either(Vec<Node>),
}

#[derive(Debug, Clone)]
enum Item {
    Range(char, char),
    Digit(bool),
    Word(bool),
    Space(bool),
}

const MAX_DEPTH: usize = 100;

impl Pattern {
    /// Compiles a pattern; the error says what is wrong and where.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let mut parser = Parser { chars: text.chars().collect(), at: 0, ignore_case: false, depth: 0 };
        let node = parser.either()?;
        match parser.peek() {
            None => Ok(Pattern { node, ignore_case: parser.ignore_case }),
            Some(c) => Err(format!("Unmatched '{c}' near index {}", parser.at)),
        }
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        let m = Matcher { text: &chars, ignore_case: self.ignore_case };
        m.run(&self.node, 0, &mut |at| at == chars.len())
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    ignore_case: bool,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        self.at += usize::from(there);
        there
    }

    fn either(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("the pattern is nested too deeply".to_owned());
        }
        let mut branches = vec![self.sequence()?];
        while self.eat('|') {
            branches.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Either(branches) })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let Some(atom) = self.atom(&mut nodes)? else { continue };
            nodes.push(self.repeated(atom)?);
        }
        Ok(Node::Sequence(nodes))
    }

    /// One atom; quoted text (`\Q..\E`) and flags leave nothing to repeat.
    fn atom(&mut self, nodes: &mut Vec<Node>) -> Result<Option<Node>, String> {
        let at = self.at;
        let Some(c) = self.next() else { return Ok(None) };
        Ok(Some(match c {
            '.' => Node::Any,
            '^' => Node::Start,
            '$' => Node::End,
            '[' => self.class()?,
            '(' => match self.group()? {
                Some(node) => node,
                None => return Ok(None),
            },
            '*' | '+' | '?' => return Err(format!("Dangling meta character '{c}' near index {at}")),
            '\\' => match self.next() {
                None => return Err(format!("Unexpected internal error near index {at}")),
                Some('Q') => {
                    while let Some(c) = self.next() {
                        if c == '\\' && self.eat('E') {
                            break;
                        }
                        nodes.push(Node::Char(c));
                    }
                    return Ok(None);
                }
                Some('b') => Node::WordBoundary(true),
                Some('B') => Node::WordBoundary(false),
                Some('A') => Node::Start,
                Some('z' | 'Z') => Node::End,
                Some(c) => match escape(c) {
                    Some(Ok(item)) => Node::Class { negated: false, items: vec![item] },
                    Some(Err(c)) => Node::Char(c),
                    None => return Err(format!("Illegal/unsupported escape sequence near index {}", at + 1)),
                },
            },
            c => Node::Char(c),
        }))
    }

    fn group(&mut self) -> Result<Option<Node>, String> {
        let mut look = None;
        if self.eat('?') {
            match self.next() {
                Some(':') => {}
                Some('=') => look = Some(false),
                Some('!') => look = Some(true),
                Some('i') if self.eat(')') => {
                    self.ignore_case = true;
                    return Ok(None);
                }
                _ => return Err(format!("Unknown inline modifier near index {}", self.at)),
            }
        }
        let node = self.either()?;
        if !self.eat(')') {
            return Err("Unclosed group".to_owned());
        }
        Ok(Some(match look {
            Some(negated) => Node::Look { ahead: Box::new(node), negated },
            None => node,
        }))
    }

    fn class(&mut self) -> Result<Node, String> {
        let negated = self.eat('^');
        let mut items = Vec::new();
        loop {
            let Some(c) = self.next() else { return Err("Unclosed character class".to_owned()) };
            let low = match c {
                ']' if !items.is_empty() => return Ok(Node::Class { negated, items }),
                '[' => return Err("a class within a class is not supported".to_owned()),
                '\\' => match self.next().and_then(escape) {
                    Some(Ok(item)) => {
                        items.push(item);
                        continue;
                    }
                    Some(Err(c)) => c,
                    None => return Err(format!("Illegal/unsupported escape sequence near index {}", self.at)),
                },
                c => c,
            };
            let ranged = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|&c| c != ']');
            if !ranged {
                items.push(Item::Range(low, low));
                continue;
            }
            self.at += 1;
            let high = match self.next() {
                Some('\\') => match self.next().and_then(escape) {
                    Some(Err(c)) => c,
                    _ => return Err(format!("Illegal character range near index {}", self.at)),
                },
                Some(c) => c,
                None => return Err("Unclosed character class".to_owned()),
            };
            if high < low {
                return Err(format!("Illegal character range near index {}", self.at));
            }
            items.push(Item::Range(low, high));
        }
    }

    fn repeated(&mut self, node: Node) -> Result<Node, String> {
        let mut node = node;
        loop {
            let (min, max) = match self.peek() {
                Some('*') => (0, u32::MAX),
                Some('+') => (1, u32::MAX),
                Some('?') => (0, 1),
                Some('{') => {
                    self.at += 1;
                    let counts = self.counts()?;
                    let lazy = self.eat('?');
                    node = Node::Repeat { node: Box::new(node), min: counts.0, max: counts.1, lazy };
                    continue;
                }
                _ => return Ok(node),
            };
            self.at += 1;
            let lazy = self.eat('?');
            node = Node::Repeat { node: Box::new(node), min, max, lazy };
        }
    }

    fn counts(&mut self) -> Result<(u32, u32), String> {
        let bad = |at: usize| format!("Illegal repetition near index {at}");
        let mut text = String::new();
        loop {
            match self.next() {
                Some('}') => break,
                Some(c) if c.is_ascii_digit() || c == ',' => text.push(c),
                _ => return Err(bad(self.at)),
            }
        }
        let number = |t: &str| t.parse::<u32>().map_err(|_| bad(self.at));
        let (min, max) = match text.split_once(',') {
            None => (number(&text)?, number(&text)?),
            Some((min, "")) => (number(min)?, u32::MAX),
            Some((min, max)) => (number(min)?, number(max)?),
        };
        if max < min { Err(bad(self.at)) } else { Ok((min, max)) }
    }
}

/// A class (`Ok`) or a plain character (`Err`); none where the escape is not known.
fn escape(c: char) -> Option<Result<Item, char>> {
    Some(match c {
        'd' => Ok(Item::Digit(true)),
        'D' => Ok(Item::Digit(false)),
        'w' => Ok(Item::Word(true)),
        'W' => Ok(Item::Word(false)),
        's' => Ok(Item::Space(true)),
        'S' => Ok(Item::Space(false)),
        't' => Err('\t'),
        'n' => Err('\n'),
        'r' => Err('\r'),
        c if c.is_ascii_alphanumeric() => return None,
        c => Err(c),
    })
}

struct Matcher<'a> {
    text: &'a [char],
    ignore_case: bool,
}

impl Matcher<'_> {
    /// Tries `node` at `at`; `then` decides whether the rest matches.
    fn run(&self, node: &Node, at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
        match node {
            Node::Char(c) => self.text.get(at).is_some_and(|t| self.same(*c, *t)) && then(at + 1),
            Node::Any => self.text.get(at).is_some_and(|c| *c != '\n') && then(at + 1),
            Node::Class { negated, items } => {
                self.text.get(at).is_some_and(|c| items.iter().any(|i| self.is_in(i, *c)) != *negated) && then(at + 1)
            }
            Node::Start => at == 0 && then(at),
            Node::End => at == self.text.len() && then(at),
            Node::WordBoundary(wanted) => (self.word(at.wrapping_sub(1)) != self.word(at)) == *wanted && then(at),
            Node::Look { ahead, negated } => self.run(ahead, at, &mut |_| true) != *negated && then(at),
            Node::Sequence(nodes) => self.sequence(nodes, at, then),
            Node::Either(branches) => branches.iter().any(|b| self.run(b, at, then)),
            Node::Repeat { node, min, max, lazy } => self.repeat(node, (*min, *max), *lazy, at, then),
        }
    }

    fn sequence(&self, nodes: &[Node], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
        match nodes.split_first() {
            None => then(at),
            Some((first, rest)) => self.run(first, at, &mut |next| self.sequence(rest, next, then)),
        }
    }

    fn repeat(
        &self,
        node: &Node,
        (min, max): (u32, u32),
        lazy: bool,
        at: usize,
        then: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        if lazy && min == 0 && then(at) {
            return true;
        }
        let counts = (min.saturating_sub(1), max.saturating_sub(u32::from(max != u32::MAX)));
        // A turn that consumes nothing ends the repetition, or it would never end.
        let more = max > 0
            && self.run(node, at, &mut |next| (next != at || min > 0) && self.repeat(node, counts, lazy, next, then));
        more || (!lazy && min == 0 && then(at))
    }

    fn same(&self, a: char, b: char) -> bool {
        a == b || (self.ignore_case && a.eq_ignore_ascii_case(&b))
    }

    fn is_in(&self, item: &Item, c: char) -> bool {
        let within = |c: char| match *item {
            Item::Range(low, high) => (low..=high).contains(&c),
            Item::Digit(yes) => c.is_ascii_digit() == yes,
            Item::Word(yes) => (c.is_ascii_alphanumeric() || c == '_') == yes,
            Item::Space(yes) => c.is_ascii_whitespace() == yes,
        };
        within(c) || (self.ignore_case && (within(c.to_ascii_lowercase()) || within(c.to_ascii_uppercase())))
    }

    fn word(&self, at: usize) -> bool {
        self.text.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_a_whole() {
        let cases = [
            ("army", "army", true),
            ("army", "army2", false),
            ("a.*", "army", true),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("t-o-.*", "t-o-1", true),
            ("t-[0-9]+", "t-42", true),
            ("t-[^0-9]+", "t-42", false),
            ("(a|b){2,3}", "aba", true),
            ("(a|b){2,3}", "abab", false),
            ("(?!__).*", "__consumer_offsets", false),
            ("(?!__).*", "army", true),
            ("(?i)ARMY", "army", true),
            ("\\Qa.b\\E", "a.b", true),
            ("\\Qa.b\\E", "axb", false),
            ("a\\.b", "a.b", true),
            ("\\w+", "a_1", true),
            ("^army$", "army", true),
            ("(a*)*b", "aaab", true),
            ("(a?){3}", "aa", true),
            ("", "", true),
            ("[a-z-]+", "a-b", true),
            ("a+?b", "aab", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for pattern in ["*", "(a", "a)", "[a", "a{2", "a{3,2}", "\\", "[z-a]", &"(".repeat(1000)] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
