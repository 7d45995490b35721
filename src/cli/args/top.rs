//! Options of `treevisor top`.

use super::{Target, path, positive_span};
use crate::ids::Path;
use crate::time::Span;
use clap::Args;

/// Shows the tree at work, live, with keys to act on it
///
/// The whole screen: the tree, what happens in it, the last output of the selected child, and how beats and restarts
/// come. It goes on when the instance ends, and finds it again when it is started.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Keys:
  up, down, PgUp, PgDn, Home, End  select       s  stop         o  sort by the next column
  left, right, space               fold, open   r  restart      /  search; n, N next, previous
  a                                fold all     p  panic        e  events of the whole tree, or
  tab                              panes        h  panic and       of what is selected
  ?                                help            hold         q  quit

What kills or stops asks first.

Examples:
  treevisor top
  treevisor top /web
  treevisor top --interval 250ms
")]
pub struct Top {
    /// Where in the tree
    #[arg(value_parser = path, default_value = "/")]
    pub path: Path,
    /// Which instance.
    #[command(flatten)]
    pub target: Target,
    /// Look this often
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "1s")]
    pub interval: Span,
    /// Wait this long for the first answer
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5s")]
    pub timeout: Span,
}
