// Arbitrary specs of a kind, from its own schema: what fits the schema is all that a hostile controller is held to.
import fc from 'fast-check';
import * as z from 'zod';
import type { AnyKind } from '../../kinds/kind.ts';

const Schema = z.looseObject({
  type: z.string().optional(),
  const: z.json().optional(),
  enum: z.array(z.json()).optional(),
  anyOf: z.array(z.json()).optional(),
  oneOf: z.array(z.json()).optional(),
  properties: z.record(z.string(), z.json()).optional(),
  required: z.array(z.string()).optional(),
  additionalProperties: z.json().optional(),
  propertyNames: z.looseObject({ pattern: z.string().optional() }).optional(),
  items: z.json().optional(),
  pattern: z.string().optional(),
  minItems: z.number().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
});

/** @param texts what strings are made of, where the schema takes them; each kind's own words, and hostile ones. */
export function specsOf(kind: AnyKind, texts: readonly string[]): fc.Arbitrary<Record<string, unknown>> {
  const schema = z.toJSONSchema(kind.spec, { unrepresentable: 'any', io: 'input' });
  return valuesOf(schema, texts)
    .map((value) => kind.spec.safeParse(value))
    .filter((parsed) => parsed.success)
    .map((parsed) => parsed.data!);
}

function valuesOf(json: unknown, texts: readonly string[]): fc.Arbitrary<unknown> {
  const schema = Schema.parse(json);
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (alternatives !== undefined) return fc.oneof(...alternatives.map((one) => valuesOf(one, texts)));
  switch (schema.type) {
    case 'boolean':
      return fc.boolean();
    case 'integer':
    case 'number':
      return fc.integer({
        min: Math.ceil(schema.minimum ?? 0),
        max: Math.floor(Math.min(schema.maximum ?? 100, 100_000)),
      });
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}, texts), { minLength: schema.minItems ?? 0, maxLength: 3 });
    case 'object':
      return objectsOf(schema, texts);
    default:
      return textsOf(schema.pattern, texts);
  }
}

function objectsOf(schema: z.infer<typeof Schema>, texts: readonly string[]): fc.Arbitrary<unknown> {
  if (schema.properties === undefined) {
    const names = textsOf(schema.propertyNames?.pattern, texts);
    return fc.dictionary(names, valuesOf(schema.additionalProperties ?? {}, texts), { maxKeys: 3 });
  }
  const members = Object.entries(schema.properties).map(([name, member]) => {
    // Half of what may be left out is: most specs would be refused for something that excludes something else.
    const value = valuesOf(member, texts);
    const isRequired = schema.required?.includes(name) === true;
    return [name, isRequired ? value : fc.option(value, { nil: undefined, freq: 2 })] as const;
  });
  return fc
    .record(Object.fromEntries(members))
    .map((object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)));
}

function textsOf(pattern: string | undefined, texts: readonly string[]): fc.Arbitrary<string> {
  const fits = pattern === undefined ? undefined : new RegExp(pattern, 'u');
  const fitting = texts.filter((text) => fits?.test(text) ?? true);
  return fitting.length > 0 ? fc.constantFrom(...fitting) : fc.string();
}
