//! Globs over topic names.

/// Whether `name` matches `pattern`, where `*` stands for any characters and `?` for one.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on if the last `*` must swallow one character more: linear in practice,
    // quadratic at worst.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, swallowed)) => {
                    star = Some((at, swallowed + 1));
                    p = at + 1;
                    n = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_match_any_characters_and_question_marks_one() {
        for (pattern, name, expected) in [
            ("sensor-*", "sensor-1", true),
            ("sensor-*", "sensors", false),
            ("*-1", "sensor-1", true),
            ("*-1", "sensor-11", false),
            ("s*r-?", "sensor-1", true),
            ("s*r-?", "sensor-11", false),
            ("a*b*c", "abxbc", true),
            ("*", "", true),
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("a.b", "axb", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }
}
