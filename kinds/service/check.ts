// What is wrong with a spec that fits the schema. Pure; on the controller.
import type { ServiceSpec } from './schema.ts';

interface Finding {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export function checkService(spec: ServiceSpec): Finding[] {
  return spec.manager === 'supervised' ? checkSupervised(spec) : checkSystemd(spec);
}

function checkSupervised(spec: ServiceSpec): Finding[] {
  const findings: Finding[] = [];
  for (const field of ['unitFile', 'dropIns', 'exclusive', 'masked'] as const) {
    if (spec[field] !== undefined) {
      findings.push({ path: [field], message: `a supervised unit has no ${field}; it has command and env` });
    }
  }
  if (spec.command === undefined) {
    findings.push({ path: ['manager'], message: 'a supervised unit needs command: [/program, argument, …]' });
  } else if (!spec.command[0]!.startsWith('/')) {
    findings.push({ path: ['command', 0], message: 'the program is named by its absolute path' });
  }
  return findings;
}

function checkSystemd(spec: ServiceSpec): Finding[] {
  const findings: Finding[] = [];
  for (const field of ['command', 'env'] as const) {
    if (spec[field] !== undefined) {
      const message = `${field} is for manager: supervised; under systemd it belongs into unitFile or a drop-in`;
      findings.push({ path: [field], message });
    }
  }
  const texts = [
    { path: ['unitFile'], text: spec.unitFile },
    ...Object.entries(spec.dropIns ?? {}).map(([name, text]) => ({ path: ['dropIns', name], text })),
  ];
  for (const { path, text } of texts) {
    if (text === undefined) continue;
    if (text.content === undefined && text.contentFrom === undefined) {
      findings.push({ path, message: 'it needs content, or contentFrom: a file beside the manifest' });
    } else if (text.content !== undefined && text.contentFrom !== undefined) {
      const message = 'content and contentFrom exclude each other; keep one';
      findings.push({ path: [...path, 'contentFrom'], message });
    }
  }
  if (spec.masked === true) {
    if (spec.state !== 'stopped') {
      findings.push({ path: ['masked'], message: 'a masked unit can’t be started; say state: stopped too' });
    }
    if (spec.unitFile !== undefined) {
      findings.push({ path: ['masked'], message: 'a mask stands where unitFile stands; keep one of them' });
    }
    if (spec.enabled === true) {
      findings.push({
        path: ['enabled'],
        message: 'a masked unit is not started at boot; leave enabled out',
      });
    }
  }
  return findings;
}
