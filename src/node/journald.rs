//! An event as an entry of systemd's journal.

use crate::logging::LogHandle;
use crate::wire::view::EventView;
use slog::Level;

/// The `MESSAGE_ID` of each kind of event. They never change. `docs/how-to/logs.md` lists them.
const MESSAGE_IDS: &[(&str, &str)] = &[
    ("starting", "d04723687a7055e79032248bfe4819a7"),
    ("started", "5a5ea1323c2a5257a6f6c9ffcb12010a"),
    ("ready", "d6cb8e62486158598b1c553a9edec37c"),
    ("beat_late", "42113a5e05f758eb8d2e8519c90bbad8"),
    ("unreachable", "5c70ed2cd1ec4c3483c17862ba97a520"),
    ("reachable", "030b2720dd0549efab38c9220da204f4"),
    ("hung", "9fb112dc6e255a3fb10f03090e10e160"),
    ("dropped", "05096facad0c5869b91e2457521f12c7"),
    ("exited", "7535a511c1c75a049588908af556a4e1"),
    ("kill_failed", "db5323a623a55b24a39afb14e7bb7e80"),
    ("restarting", "1b045e90101b51b7bcc70ba690498464"),
    ("failed_over", "555d8e79468a46c1a2e6fab59037341a"),
    ("no_host", "5d2706211b354f2995a0dd85ec1827f2"),
    ("stopping", "9f841b1c6c955a41b5495a76e99cb242"),
    ("stopped", "12818c2e25ca5d16960dd23b36d0bc71"),
    ("escalated", "4bcd73e97291515abc40dbcbb0f7e6af"),
    ("gave_up", "edf17ade22bb588abc81c0553cbb360c"),
    ("auto_shutdown", "3792e0b2ee3953f4ba2dfb85a941455d"),
    ("main_pid", "2068c767472852ebb76d2ab6645fe6a4"),
    ("succeeded", "b2ec2b3eb6407cb25c3bce111679fb32"),
    ("panic", "47ae8e8840365fb7ab78fb0738a8f0e0"),
    ("held", "b59d821af7bd5ef0b6fd5b32b4e559c3"),
    ("released", "57ace0432d775ba9bc063e6ed34adbe9"),
    ("reloaded", "6b92a0d825b35e22bf03c00ca7f619a7"),
    ("rollout", "35b826e43de55be8a6bb8ccc7a61227f"),
    ("upgraded", "096b1e8cb14844bab8bd35d678592a2e"),
    ("upgrade_failed", "68959fe6795847208bdd3d906fbdeed2"),
    ("start_failed", "00313a158aab53388dff5f5b8aa1cae9"),
];

/// Sends the event to journald, with its sentence as the message.
pub(super) fn send(to: &LogHandle, level: Level, sentence: &str, view: &EventView) {
    let id = view.id.to_string();
    let cause = view.cause.map(|cause| cause.to_string());
    let incarnation = view.incarnation.map(|incarnation| incarnation.to_string());
    let pid = view.pid.map(|pid| pid.to_string());
    let message_id = MESSAGE_IDS.iter().find(|(kind, _)| *kind == view.kind()).map(|(_, id)| *id);
    let fields = [
        ("TREEVISOR_PATH", Some(view.path.as_str())),
        ("TREEVISOR_INCARNATION", incarnation.as_deref()),
        ("OBJECT_PID", pid.as_deref()),
        ("TREEVISOR_EVENT", Some(id.as_str())),
        ("TREEVISOR_KIND", Some(view.kind())),
        ("TREEVISOR_CAUSE", cause.as_deref()),
        ("MESSAGE_ID", message_id),
    ];
    to.send_entry(level, sentence, fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::view::EventBody;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_an_id_of_its_own_which_the_page_lists() {
        let kinds: Vec<&str> = MESSAGE_IDS.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, EventBody::KINDS);
        assert_eq!(MESSAGE_IDS.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), kinds.len());
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/how-to/logs.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (kind, id) in MESSAGE_IDS {
            assert!(id.len() == 32 && page.contains(&format!("| `{kind}` | `{id}` |")), "{kind}");
        }
    }
}
