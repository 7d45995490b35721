//! Copies of a placed supervisor.

use super::*;

impl<'v> Reader<'_, 'v> {
    /// Reads a supervisor, or several with a `count`, which only a placed supervisor may have.
    #[expect(clippy::too_many_arguments, reason = "what one child needs of what stands around it")]
    pub(super) fn supervisors(
        &mut self,
        own: Layer<'v>,
        mut fields: Fields<'v>,
        name: Option<Name>,
        place: Place,
        at: &Path,
        depth: usize,
        defaults: &[Layer<'v>],
        siblings: &mut Siblings,
    ) {
        let shape: Whole<u32> = a_whole(1, COUNT_MAX.into());
        let values = fields.values(Some(Group::Placed), "count");
        let count = shape.merge(&mut self.scope, &values, &mut Places::new());
        if let (Some(count), false) = (&count, own.has("placement")) {
            self.scope.judge(
                Finding::error("wrong-place", count.place, "`count` of a supervisor that has no `placement`")
                    .label("its copies would be supervisors of the same workers on one host")
                    .hint("write `count` for each worker, or a `placement` beside it: placement = { spread = true }"),
            );
        }
        let count = count.map(|count| count.value).filter(|_| self.scope.judging);
        let base = name.clone().unwrap_or_else(unnamed);
        let mut again = Some(fields);
        for number in 1..=count.unwrap_or(1) {
            let mut called = name.clone();
            if count.is_some() {
                match self.rules.numbered(&mut self.scope, &base, number, place) {
                    Some(numbered) => called = name.as_ref().map(|_| numbered),
                    None => break,
                }
            }
            let mut fields = again.take().unwrap_or_else(|| self.body_of(own));
            fields.places.insert(String::new(), place);
            let errors = self.scope.findings.errors();
            let outer = self.rules.copy.clone();
            if count.is_some() {
                self.rules.copy = Some((at.child(&base), number));
            }
            self.supervisor_child(fields, called, place, at, depth, defaults, siblings);
            self.rules.copy = outer;
            if let Some(ChildSpec { kind: ChildKind::Supervisor(spec), .. }) = siblings.children.last_mut()
                && let (Some(_), Some(placement)) = (count, &mut spec.placement)
            {
                placement.group = name.clone();
            }
            // The following copies would have the same errors.
            if self.scope.findings.errors() > errors || self.rules.too_many() {
                break;
            }
        }
    }
}
