// How the cluster is put into words. Pure.

import { bytes, span } from "./words.js";

/** A host's state as a shape, in the colour of a child's state. */
const LOOKS = /** @type {Record<string, [string, string]>} */ ({
  live: ["running", "●"],
  draining: ["stopping", "■"],
  joining: ["starting", "▲"],
  left: ["exited", "○"],
});

/** @param {string} state */
export function look(state) {
  return LOOKS[state] ?? ["failed", "✕"];
}

/** The store in a line. @param {Cluster["store"]} store */
export function store({ kind, state, age_ms, size_bytes, quota_bytes }) {
  const ago = age_ms == null ? "" : `, ${span(age_ms)} ago`;
  const size = size_bytes == null ? "" : `; ${bytes(size_bytes)}${quota_bytes ? ` of ${bytes(quota_bytes)}` : ""}`;
  return `${kind} ${state === "ok" ? "answers" : "does not answer: leases end"}${ago}${size}`;
}

/** What is to be read beside a tree: its note, or why no host can run it. @param {Cluster["instances"][number]} tree */
export function note(tree) {
  if (tree.note || tree.host || tree.wanted !== "up") return tree.note ?? "";
  return tree.candidates.filter(({ fit }) => !fit).map(({ host, why }) => `${host}: ${why}`).join("; ");
}

/** The rows of the trees: each root, and below it the subtrees that are placed by themselves. @param {Cluster["instances"]} trees */
export function claims(trees) {
  return trees.flatMap((tree) => [
    { ...tree, name: tree.instance, note: note(tree) },
    ...(tree.subtrees ?? []).map((one) => ({ ...one, name: `${tree.instance} ${one.path}`, wanted: "", note: one.note ?? "" })),
  ]);
}
