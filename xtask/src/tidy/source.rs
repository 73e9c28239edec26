//! Rust with its comments and literals blanked out, so that rules see code alone.
//!
//! A scanner for as much of Rust as that takes: comments (blocks nest), strings (plain, byte, C, raw),
//! characters told from lifetimes. Newlines stay where they are, so line numbers do too.

/// The code of a Rust file.
pub struct Source {
    /// Line by line, comments and the insides of literals as spaces.
    pub lines: Vec<String>,
    /// Of each line, whether it is inside an item under `#[cfg(test)]`.
    pub in_test: Vec<bool>,
}

impl Source {
    /// Reads a file.
    pub fn of(text: &str) -> Self {
        let code = code_of(text);
        let lines: Vec<String> = code.lines().map(str::to_owned).collect();
        let in_test = lines_in_tests(&lines);
        Self { lines, in_test }
    }

    /// The code with line numbers, counted from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }

    /// The code outside of `#[cfg(test)]`, with line numbers.
    pub fn numbered_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(line, _)| !self.in_test[line - 1])
    }
}

/// Whether `code` holds `word`, and not as a part of a longer name.
pub fn has_word(code: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        // A word that ends in a mark, as `print!`, ends by itself.
        let ends = !word.ends_with(is_name) || !after.is_some_and(is_name);
        !before.is_some_and(is_name) && ends
    })
}

/// The text with comments and the insides of literals as spaces.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` where none does.
fn skipped(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let follows_name = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment(rest),
        ['"', ..] => at + quoted(rest, '"'),
        // 'x' and '\n' are characters, 'x alone is a lifetime.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => at + quoted(rest, '\''),
        // The letters before a string: b, c, r, br, cr. Only r makes it raw; the others need no care.
        ['r', '"' | '#', ..] if !follows_name || is_string_prefix(chars, at) => at + raw_string(rest),
        _ => at,
    }
}

/// Whether the letter before `at` is the `b` or `c` of `br"` or `cr"`, not the end of a name.
fn is_string_prefix(chars: &[char], at: usize) -> bool {
    let starts_word = at == 1 || at > 1 && !(chars[at - 2].is_alphanumeric() || chars[at - 2] == '_');
    matches!(chars[at - 1], 'b' | 'c') && starts_word
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of `r#"…"#`; 0 where it is the raw identifier `r#name`.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    let open = 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let closes = |at: usize| {
        rest[at] == '"' && rest[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    let close = (open + 1..rest.len()).find(|&at| closes(at));
    close.map_or(rest.len(), |at| at + 1 + hashes)
}

/// Of each line of code, whether an item under `#[cfg(test)]` covers it: to its closing brace, or to its `;`.
fn lines_in_tests(lines: &[String]) -> Vec<bool> {
    let mut marks = vec![false; lines.len()];
    let mut first = 0;
    while first < lines.len() {
        if !lines[first].trim_start().starts_with("#[cfg(test)]") {
            first += 1;
            continue;
        }
        let last = end_of_item(lines, first);
        marks[first..=last].fill(true);
        first = last + 1;
    }
    marks
}

fn end_of_item(lines: &[String], first: usize) -> usize {
    let mut depth = 0;
    for (index, line) in lines.iter().enumerate().skip(first) {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth <= 1 => return index,
                '}' => depth -= 1,
                ';' if depth == 0 => return index,
                _ => {}
            }
        }
    }
    lines.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"a\\\"b\") g", "f(      ) g"),
            ("r\"a\\\" b", "      b"),
            ("r#\"a\"b\"# c", "         c"),
            ("br#\"a\"# c", "b       c"),
            ("r#type = 1", "r#type = 1"),
            ("bar\"a\" c", "bar    c"),
            ("x = '\"'; y", "x =    ; y"),
            ("x = '\\''; y", "x =     ; y"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("'a: loop { break 'a }", "'a: loop { break 'a }"),
            ("\"a\nb\"c", "  \n  c"),
            ("\"open", "     "),
        ] {
            assert_eq!(code_of(text), expected, "{text}");
        }
    }

    #[test]
    fn words_are_whole() {
        for (code, word, expected) in [
            ("unsafe { x }", "unsafe", true),
            ("forbid(unsafe_code)", "unsafe", false),
            ("println!()", "print!", false),
            ("eprintln!()", "println!", false),
            ("std::println!()", "println!", true),
            ("todo!()", "todo!", true),
            ("Instant::now()", "Instant::now", true),
        ] {
            assert_eq!(has_word(code, word), expected, "{word} in {code}");
        }
    }

    #[test]
    fn tests_are_told_from_code() {
        let text = "a\n#[cfg(test)]\nuse b;\nc\n#[cfg(test)]\nmod tests {\n  fn f() { \"}\" }\n}\nd\n";
        let expected = [false, true, true, false, true, true, true, true, false];
        assert_eq!(Source::of(text).in_test, expected);
    }
}
