//! Keys and sessions: the permission that each grants, and for how long.
//!
//! Only their SHA-256 is kept. They are random numbers of 256 bits, so neither a salt nor a slow hash would make them
//! harder to guess. Each is compared with all known ones in constant time.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// How long the key in a link is valid, in milliseconds.
pub(super) const LOGIN_MS: u64 = 10 * 60 * 1_000;

/// How long a session lasts after its login, in milliseconds.
pub(super) const SESSION_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// Most open sessions, and most open links. A new one replaces the oldest without a key, else the oldest that views.
const OPEN_MAX: usize = 256;

/// What a key or a session permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    /// To view only.
    View,
    /// To view and to act.
    Act,
}

/// A key, or the token of a session, in clear.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret([u8; 32]);

impl Secret {
    /// Made of 32 random bytes.
    pub(super) fn of(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// Reads the form of [`Secret::text`]; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Secret> {
        hex(text).map(Secret)
    }

    /// The secret as 64 hexadecimal digits.
    pub(super) fn text(&self) -> String {
        text(&self.0)
    }

    fn hashed(&self) -> Hashed {
        Hashed(Sha256::digest(self.0).into())
    }
}

/// What proves that a client may view, as long as it is valid.
#[derive(Clone, Default)]
pub(super) enum Proof {
    /// The kernel reports that the UNIX socket was opened by our user or root. Valid as long as the connection.
    #[default]
    Kernel,
    /// A lasting key.
    Key(Secret),
    /// The token of a session.
    Session(Secret),
}

fn text(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The SHA-256 of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Hashed([u8; 32]);

impl From<Hashed> for String {
    fn from(hashed: Hashed) -> String {
        text(&hashed.0)
    }
}

impl TryFrom<String> for Hashed {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Hashed, &'static str> {
        hex(&text).map(Hashed).ok_or("not 64 hexadecimal digits")
    }
}

/// The key of a link, or a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    sha256: Hashed,
    may: Access,
    /// When it ends, in milliseconds since 1970.
    until_ms: u64,
    /// The hash of the CSRF value that the page of a session sends with each request that changes something. It is not
    /// derived from the token: a browser sends cookies to all ports of a host, so another user's console may see the
    /// token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    csrf: Option<Hashed>,
    /// The session was opened without a key, for a user that the kernel reports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_kernel: bool,
}

/// All keys and sessions of a console, as the file holds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    view: Hashed,
    act: Hashed,
    #[serde(default)]
    logins: Vec<Open>,
    #[serde(default)]
    sessions: Vec<Open>,
}

impl Keys {
    /// Two lasting keys, without links and sessions.
    pub(super) fn new(view: &Secret, act: &Secret) -> Keys {
        Keys { view: view.hashed(), act: act.hashed(), logins: Vec::new(), sessions: Vec::new() }
    }

    /// Adds a key for one login.
    pub(super) fn add_login(&mut self, key: &Secret, may: Access, now_ms: u64) {
        let until_ms = now_ms.saturating_add(LOGIN_MS);
        let login = Open { sha256: key.hashed(), may, until_ms, csrf: None, by_kernel: false };
        add(&mut self.logins, login, now_ms);
    }

    /// The permission of a login with this key. The key of a link is removed by it.
    pub(super) fn login(&mut self, key: &Secret, now_ms: u64) -> Option<Access> {
        let hashed = key.hashed();
        let open = self.link(&hashed, now_ms).map(|open| open.may);
        self.logins.retain(|login| !bool::from(login.sha256.0.ct_eq(&hashed.0)) && login.until_ms > now_ms);
        self.bearer(key).max(open)
    }

    /// Whether a login with this key would succeed.
    pub(super) fn opens(&self, key: &Secret, now_ms: u64) -> bool {
        let (lasting, link) = (self.bearer(key), self.link(&key.hashed(), now_ms));
        lasting.is_some() || link.is_some()
    }

    /// The link of a key. It holds for its ten minutes alone, also if the clock is set back meanwhile.
    fn link(&self, hashed: &Hashed, now_ms: u64) -> Option<&Open> {
        find(&self.logins, hashed, now_ms).filter(|open| open.until_ms <= now_ms.saturating_add(LOGIN_MS + 60_000))
    }

    /// The permission of a lasting key; `None` for any other, such as that of a link.
    pub(super) fn bearer(&self, key: &Secret) -> Option<Access> {
        let hashed = key.hashed();
        let (view, act) = (self.view.0.ct_eq(&hashed.0), self.act.0.ct_eq(&hashed.0));
        let number = u8::conditional_select(&u8::conditional_select(&0, &1, view), &2, act);
        [None, Some(Access::View), Some(Access::Act)][usize::from(number)]
    }

    /// Opens a session whose page has `csrf`.
    pub(super) fn open_session(&mut self, token: &Secret, csrf: &Secret, may: Access, now_ms: u64) {
        self.add_session(token, csrf, may, false, now_ms);
    }

    /// Opens a session without a key, for a user that the kernel reports.
    pub(super) fn open_session_by_kernel(&mut self, token: &Secret, csrf: &Secret, may: Access, now_ms: u64) {
        self.add_session(token, csrf, may, true, now_ms);
    }

    fn add_session(&mut self, token: &Secret, csrf: &Secret, may: Access, by_kernel: bool, now_ms: u64) {
        let until_ms = now_ms.saturating_add(SESSION_MS);
        let session = Open { sha256: token.hashed(), may, until_ms, csrf: Some(csrf.hashed()), by_kernel };
        add(&mut self.sessions, session, now_ms);
    }

    /// The permission of a session that has not ended.
    pub(super) fn session(&self, token: &Secret, now_ms: u64) -> Option<Access> {
        find(&self.sessions, &token.hashed(), now_ms).map(|open| open.may)
    }

    /// Whether a session was opened without a key.
    pub(super) fn is_by_kernel(&self, token: &Secret, now_ms: u64) -> bool {
        find(&self.sessions, &token.hashed(), now_ms).is_some_and(|open| open.by_kernel)
    }

    /// Whether `csrf` is the value of this session's page.
    pub(super) fn is_page_of(&self, token: &Secret, csrf: &Secret, now_ms: u64) -> bool {
        let known = find(&self.sessions, &token.hashed(), now_ms).and_then(|open| open.csrf.as_ref());
        known.is_some_and(|known| known.0.ct_eq(&csrf.hashed().0).into())
    }

    pub(super) fn close_session(&mut self, token: &Secret) {
        let hashed = token.hashed();
        self.sessions.retain(|session| session.sha256 != hashed);
    }
}

fn add(list: &mut Vec<Open>, new: Open, now_ms: u64) {
    list.retain(|open| open.until_ms > now_ms);
    if list.len() >= OPEN_MAX {
        // A user that the kernel reports gets another session without a key, and a script opens one at each run. A key
        // to view alone must not end sessions that act, however often it is used.
        let by_kernel = list.iter().position(|open| open.by_kernel);
        let views = || list.iter().position(|open| open.may == Access::View);
        list.remove(by_kernel.or_else(views).unwrap_or(0));
    }
    list.push(new);
}

/// Searches the whole list whichever entry matches, for constant time.
fn find<'a>(list: &'a [Open], hashed: &Hashed, now_ms: u64) -> Option<&'a Open> {
    let (mut found, mut at) = (Choice::from(0), 0_u64);
    for (index, open) in list.iter().enumerate() {
        let fits = open.sha256.0.ct_eq(&hashed.0);
        at.conditional_assign(&(index as u64), fits);
        found |= fits;
    }
    let open = bool::from(found).then(|| usize::try_from(at).ok().and_then(|at| list.get(at))).flatten()?;
    (open.until_ms > now_ms).then_some(open)
}

/// How many wrong keys may be tried: ten a minute, from all clients together.
#[derive(Debug)]
pub(super) struct Tries {
    times_ms: std::collections::VecDeque<u64>,
}

impl Tries {
    const A_MINUTE: usize = 10;

    pub(super) fn new() -> Tries {
        Tries { times_ms: std::collections::VecDeque::new() }
    }

    /// Counts an attempt; `false` if it is one too many.
    pub(super) fn allow(&mut self, now_ms: u64) -> bool {
        while self.times_ms.front().is_some_and(|time| now_ms.saturating_sub(*time) >= 60_000) {
            self.times_ms.pop_front();
        }
        let allowed = self.times_ms.len() < Tries::A_MINUTE;
        if allowed {
            self.times_ms.push_back(now_ms);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(number: u8) -> Secret {
        Secret::of([number; 32])
    }

    fn keys() -> Keys {
        Keys::new(&secret(1), &secret(2))
    }

    #[test]
    fn a_secret_has_one_text() {
        let text = secret(0xab).text();
        assert_eq!(text, "ab".repeat(32));
        assert!(Secret::parse(&text) == Some(secret(0xab)));
        for wrong in ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &"+f".repeat(32), &"é".repeat(32)] {
            assert!(Secret::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn lasting_keys_let_their_bearers_do_what_they_are_for() {
        let keys = keys();
        assert_eq!(keys.bearer(&secret(1)), Some(Access::View));
        assert_eq!(keys.bearer(&secret(2)), Some(Access::Act));
        assert_eq!(keys.bearer(&secret(3)), None);
        let mut keys = keys;
        assert_eq!(keys.login(&secret(1), 0), Some(Access::View));
        assert_eq!(keys.login(&secret(1), 1), Some(Access::View));
    }

    #[test]
    fn the_key_of_a_link_holds_once_and_for_ten_minutes() {
        let mut keys = keys();
        keys.add_login(&secret(3), Access::Act, 1_000);
        keys.add_login(&secret(4), Access::View, 1_000);
        assert_eq!(keys.bearer(&secret(3)), None);
        assert_eq!(keys.login(&secret(5), 2_000), None);
        assert_eq!(keys.login(&secret(3), 2_000), Some(Access::Act));
        assert_eq!(keys.login(&secret(3), 2_000), None);
        assert_eq!(keys.login(&secret(4), 1_000 + LOGIN_MS - 1), Some(Access::View));
        keys.add_login(&secret(4), Access::View, 1_000);
        assert_eq!(keys.login(&secret(4), 1_000 + LOGIN_MS), None);
        // The clock was set back, by a little and by an hour.
        keys.add_login(&secret(4), Access::View, 3_600_000);
        assert!(keys.opens(&secret(4), 3_599_000) && !keys.opens(&secret(4), 0));
    }

    #[test]
    fn sessions_end_by_logout_and_by_time() {
        let mut keys = keys();
        keys.open_session(&secret(5), &secret(15), Access::View, 0);
        keys.open_session(&secret(6), &secret(16), Access::Act, 0);
        assert_eq!(keys.session(&secret(5), SESSION_MS - 1), Some(Access::View));
        assert_eq!(keys.session(&secret(5), SESSION_MS), None);
        assert_eq!(keys.bearer(&secret(6)), None);
        keys.close_session(&secret(5));
        assert_eq!((keys.session(&secret(5), 1), keys.session(&secret(6), 1)), (None, Some(Access::Act)));
    }

    #[test]
    fn what_is_open_is_bounded() {
        let mut keys = keys();
        for number in 0..OPEN_MAX as u64 + 44 {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            keys.open_session(&Secret::of(bytes), &secret(9), Access::View, number);
        }
        assert_eq!(keys.sessions.len(), OPEN_MAX);
        keys.open_session(&secret(7), &secret(17), Access::View, SESSION_MS + 200);
        assert_eq!(keys.sessions.iter().map(|open| open.until_ms).min(), Some(SESSION_MS + 201));
    }

    #[test]
    fn sessions_without_a_key_make_room_first() {
        let mut keys = keys();
        keys.open_session(&secret(5), &secret(15), Access::Act, 0);
        for number in 0..2 * OPEN_MAX as u64 {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            keys.open_session_by_kernel(&Secret::of(bytes), &secret(9), Access::Act, number);
            assert!(keys.is_by_kernel(&Secret::of(bytes), number) && keys.sessions.len() <= OPEN_MAX);
        }
        assert_eq!(keys.session(&secret(5), 1), Some(Access::Act));
        assert!(!keys.is_by_kernel(&secret(5), 1));
        // A file of an earlier version has no such mark.
        let json = serde_json::to_string(&keys).unwrap().replace(",\"by_kernel\":true", "");
        let old: Keys = serde_json::from_str(&json).unwrap();
        assert!(old.sessions.iter().all(|open| !open.by_kernel));
    }

    #[test]
    fn sessions_that_view_end_no_session_that_acts() {
        let mut keys = keys();
        keys.open_session(&secret(5), &secret(15), Access::Act, 0);
        for number in 0..2 * OPEN_MAX as u64 {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            keys.open_session(&Secret::of(bytes), &secret(9), Access::View, number);
        }
        assert_eq!((keys.session(&secret(5), 1), keys.sessions.len()), (Some(Access::Act), OPEN_MAX));
    }

    #[test]
    fn nothing_that_is_kept_can_be_presented() {
        let mut keys = keys();
        keys.open_session(&secret(5), &secret(15), Access::Act, 0);
        let json = serde_json::to_string(&keys).unwrap();
        assert!(!json.contains(&secret(1).text()) && !json.contains(&secret(5).text()), "{json}");
        let kept: Keys = serde_json::from_str(&json).unwrap();
        assert_eq!(kept, keys);
        let stolen = Secret::of(keys.act.0);
        assert_eq!((keys.bearer(&stolen), keys.session(&stolen, 1)), (None, None));
        assert!(!json.contains(&secret(15).text()), "{json}");
        assert!(keys.is_page_of(&secret(5), &secret(15), 1) && !keys.is_page_of(&secret(5), &secret(5), 1));
        assert!(!keys.is_page_of(&secret(15), &secret(5), 1) && !keys.is_page_of(&secret(5), &secret(15), SESSION_MS));
    }

    #[test]
    fn ten_logins_a_minute() {
        let mut tries = Tries::new();
        assert!((0..10).all(|second| tries.allow(second * 1_000)));
        assert!(!tries.allow(59_999) && tries.allow(60_000) && !tries.allow(60_500) && tries.allow(61_000));
    }
}
