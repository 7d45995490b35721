//! Expansion of `%` specifiers.

use super::super::source::Machine;
use super::super::value::{Piece, Value};

/// The facts about a unit that its specifiers need.
#[derive(Clone)]
pub(super) struct Named<'a> {
    pub(super) machine: &'a Machine<'a>,
    /// Its name in other units: `web@blue.service`.
    pub(super) name: String,
    /// Whether it is a unit of a user manager.
    pub(super) of_user: bool,
    /// The path of its file.
    pub(super) fragment: String,
}

impl Named<'_> {
    /// The name without its suffix.
    pub(super) fn stem(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(stem, _)| stem)
    }

    /// Whether it is a template, whose instance is not known.
    pub(super) fn is_template(&self) -> bool {
        self.stem().ends_with('@')
    }

    fn prefix(&self) -> &str {
        self.stem().split('@').next().unwrap_or_default()
    }

    fn instance(&self) -> Result<&str, String> {
        match self.stem().split_once('@') {
            Some((_, "")) => Err(format!(
                "the unit is a template, and its instance is not known: import {}NAME.service",
                self.stem()
            )),
            Some((_, instance)) => Ok(instance),
            None => Ok(""),
        }
    }

    /// The text with its specifiers expanded.
    pub(super) fn specified(&self, text: &str) -> Result<Value, String> {
        let mut out = Value::default();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(Piece::Char(c));
                continue;
            }
            match chars.next() {
                None => out.push(Piece::Char('%')),
                Some(letter) => match self.one(letter)? {
                    Some(value) => out.append(&value),
                    // As in systemd, an unknown specifier is left unchanged.
                    None => out.append(&Value::plain(&format!("%{letter}"))),
                },
            }
        }
        Ok(out)
    }

    fn one(&self, letter: char) -> Result<Option<Value>, String> {
        let plain = |text: &str| Ok(Some(Value::plain(text)));
        let of = |root: &str, variable: &str, default: &str| {
            if self.of_user { Value::variable_or(variable, default) } else { Value::plain(root) }
        };
        let home = "${HOME:-}";
        Ok(Some(match letter {
            '%' => return plain("%"),
            'n' => return plain(&self.name),
            'N' => return plain(self.stem()),
            'p' => return plain(self.prefix()),
            'P' => return plain(&unescaped(self.prefix())?),
            'i' => return plain(self.instance()?),
            'I' => return plain(&unescaped(self.instance()?)?),
            'f' => {
                let from = if self.stem().contains('@') { self.instance()? } else { self.prefix() };
                return plain(&format!("/{}", unescaped(from)?.trim_start_matches('/')));
            }
            'j' => return plain(self.prefix().rsplit('-').next().unwrap_or_default()),
            'J' => return plain(&unescaped(self.prefix().rsplit('-').next().unwrap_or_default())?),
            'y' => return plain(&self.fragment),
            'Y' => return plain(self.fragment.rsplit_once('/').map_or(".", |(directory, _)| directory)),
            'H' | 'q' => return plain(&self.machine.host),
            'l' => return plain(self.machine.host.split('.').next().unwrap_or_default()),
            't' => of("/run", "XDG_RUNTIME_DIR", "/run"),
            'S' => of("/var/lib", "XDG_STATE_HOME", &format!("{home}/.local/state")),
            'C' => of("/var/cache", "XDG_CACHE_HOME", &format!("{home}/.cache")),
            'E' => of("/etc", "XDG_CONFIG_HOME", &format!("{home}/.config")),
            'L' if self.of_user => {
                let mut state = Value::variable_or("XDG_STATE_HOME", &format!("{home}/.local/state"));
                state.append(&Value::plain("/log"));
                state
            }
            'L' => return plain("/var/log"),
            'T' => return plain("/tmp"),
            'V' => return plain("/var/tmp"),
            'h' => of("/root", "HOME", ""),
            'u' | 'g' => of("root", "USER", ""),
            's' => of("/bin/sh", "SHELL", "/bin/sh"),
            'U' | 'G' if !self.of_user => return plain("0"),
            'U' | 'G' | 'a' | 'A' | 'b' | 'B' | 'd' | 'D' | 'm' | 'M' | 'o' | 'v' | 'w' | 'W' => {
                return Err(format!("%{letter} is not known when the tree is written down"));
            }
            _ => return Ok(None),
        }))
    }
}

/// Whether the text has a specifier for the name of this host.
pub(super) fn names_host(text: &str) -> bool {
    let mut after = text.split("%%").collect::<Vec<_>>().join(" ");
    after.retain(|c| c != '\n');
    ["%H", "%q", "%l"].iter().any(|specifier| after.contains(specifier))
}

/// Unescapes a part of a unit's name: `-` becomes a slash, and `\x2d` a byte.
fn unescaped(text: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '-' => out.push(b'/'),
            '\\' => {
                let byte = rest.strip_prefix('x').and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
                out.push(byte.ok_or_else(|| format!("{text} is not escaped as a unit's name is"))?);
                rest = &rest[3..];
            }
            c => out.extend(c.to_string().bytes()),
        }
    }
    String::from_utf8(out).map_err(|_| format!("{text} is no UTF-8 without its escapes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, of_user: bool, text: &str) -> Result<String, String> {
        let machine = Machine { env: &|_| None, host: "box.example".into() };
        let named = Named { machine: &machine, name: name.into(), of_user, fragment: "/etc/x/a.service".into() };
        named.specified(text).map(|value| value.in_toml())
    }

    #[test]
    fn each_of_them() {
        let name = r"my-app@var-lib\x2dx.service";
        for (text, right) in [
            ("%n %N", r"my-app@var-lib\x2dx.service my-app@var-lib\x2dx"),
            ("%p %P %j %J", "my-app my/app app app"),
            ("%i %I %f", r"var-lib\x2dx var/lib-x /var/lib-x"),
            ("%t %S %C %L %E %T %V", "/run /var/lib /var/cache /var/log /etc /tmp /var/tmp"),
            ("%h %u %U %g %G %s", "/root root 0 root 0 /bin/sh"),
            ("%H %l", "box.example box"),
            ("100%% $x %z %", "100% $$x %z %"),
            ("%y %Y", "/etc/x/a.service /etc/x"),
        ] {
            assert_eq!(of(name, false, text).as_deref(), Ok(right), "{text}");
        }
        assert_eq!(of("a.service", true, "%h/x %t").as_deref(), Ok("${HOME:-}/x ${XDG_RUNTIME_DIR:-/run}"));
        assert_eq!(of("a.service", false, "[%i]%f").as_deref(), Ok("[]/a"));
        assert!(of("a@.service", false, "%i").unwrap_err().contains("template"));
        assert!(of("a.service", false, "%m").is_err() && of("a.service", true, "%U").is_err());
        assert!(names_host("a%H") && !names_host("a%%H"));
    }
}
