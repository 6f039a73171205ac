// loki.source.journal writes its own name into the label job, over what its labels say, and applies its rules after
// that. The converter leaves the label where it has no effect, so a rule is added that has.
// https://grafana.com/docs/alloy/latest/reference/components/loki/loki.source.journal/

const RULES = /^\trelabel_rules\s*= .*\n/m;

/** @param config as `alloy fmt` prints it. */
export function keepJournalJob(config: string): string {
  const blocks = config.split(/\n\n(?=\S)/);
  const made: string[] = [];
  for (const [i, block] of blocks.entries()) {
    const name = /^loki\.source\.journal "([^"]+)" \{/.exec(block)?.[1];
    const job = name === undefined ? undefined : jobOf(block);
    if (name === undefined || job === undefined) continue;
    const rule = `\trule {\n\t\ttarget_label = "job"\n\t\treplacement  = ${job}\n\t}\n`;
    const given = blocks.findIndex((one) =>
      isNamed(one, /^\trelabel_rules\s*= (.+)\.rules$/m.exec(block)?.[1]),
    );
    if (/^\ttargets\s*= \[\]$/m.test(blocks[given] ?? '')) {
      // Before the others: they may be about the label.
      blocks[given] = blocks[given]!.replace(/^\trule \{/m, `${rule}\n\trule {`);
      continue;
    }
    const others = blocks[given] === undefined ? [] : blocks[given].match(/^\trule \{\n[\s\S]*?^\t\}\n/gm);
    made.push(`loki.relabel "${name}_job" {\n\tforward_to = []\n\n${[rule, ...(others ?? [])].join('\n')}}`);
    const reads = `\trelabel_rules = loki.relabel.${name}_job.rules\n`;
    blocks[i] = RULES.test(block) ? block.replace(RULES, reads) : block.replace('{\n', `{\n${reads}`);
  }
  return [...made, ...blocks].join('\n\n');
}

/** The value of the label, as an expression in which `$` stands for itself. */
function jobOf(block: string): string | undefined {
  const labels = /^\tlabels\s*= \{\n([\s\S]*?)^\t\}/m.exec(block)?.[1] ?? '';
  return /^\t\tjob\s*= (.+?),?$/m.exec(labels)?.[1]?.replaceAll('$', '$$$$');
}

/** @param reference as `discovery.relabel.docker`. */
function isNamed(block: string, reference: string | undefined): boolean {
  const [, component, label] = /^(.+)\.([^.]+)$/.exec(reference ?? '') ?? [];
  return component !== undefined && block.startsWith(`${component} "${label}" {`);
}
