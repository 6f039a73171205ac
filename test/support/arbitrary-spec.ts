// Any spec that a kind's schema takes, made of texts that mean something to a host: fast-check from zod.
import fc from 'fast-check';
import * as z from 'zod';

/**
 * @param texts what strings are chosen from, as far as the schema takes them.
 * @param chosen by field name, what is chosen from in place of the schema: without it most specs would be refused for a
 * reason that has nothing to do with what is looked for.
 */
export function arbitrarySpec(
  schema: z.core.$ZodType,
  texts: readonly string[],
  chosen: Readonly<Record<string, fc.Arbitrary<unknown>>> = {},
): fc.Arbitrary<unknown> {
  const make = (inner: z.core.$ZodType): fc.Arbitrary<unknown> => arbitrarySpec(inner, texts, chosen);
  // What zod's own documentation has for those who walk a schema.
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case 'object': {
      const fields = Object.entries(def.shape).map(([name, inner]) => {
        const any = chosen[name] ?? make(inner);
        const isOptional = (inner as z.core.$ZodTypes)._zod.def.type === 'optional';
        return [name, isOptional ? seldom(any) : any] as const;
      });
      return fc
        .record(Object.fromEntries(fields))
        .map((value) => Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)));
    }
    case 'optional':
      return make(def.innerType);
    case 'array':
      return fc.array(make(def.element), { minLength: 1, maxLength: 2 });
    case 'record':
      return fc.dictionary(make(def.keyType).map(String), make(def.valueType), { minKeys: 1, maxKeys: 2 });
    case 'union':
      return fc.oneof(...def.options.flatMap((option) => orNone(() => make(option))));
    case 'enum':
      return fc.constantFrom(...Object.values(def.entries));
    case 'literal':
      return fc.constantFrom(...def.values);
    case 'boolean':
      return fc.boolean();
    case 'number':
      return taken(schema, [1, 2, 30, 200, 0.5], fc.integer({ min: 1, max: 500 }));
    case 'string':
      return taken(schema, texts, fc.string({ minLength: 1, maxLength: 8 }));
    default:
      throw new Error(`no specs are made for a schema of type ${def.type}`);
  }
}

/** With many fields most specs would otherwise be refused for one of them. */
function seldom(any: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: any });
}

/** Of these what the schema takes, and now and then something that nobody thought of. */
function taken<T>(schema: z.core.$ZodType, values: readonly T[], others: fc.Arbitrary<T>): fc.Arbitrary<T> {
  const takes = (value: T): boolean => z.core.safeParse(schema, value).success;
  const fitting = values.filter(takes);
  if (fitting.length === 0)
    throw new NothingFits(
      `no text fits ${JSON.stringify(z.toJSONSchema(schema, { unrepresentable: 'any' }))}`,
    );
  const any = fc.constantFrom(...fitting);
  if (!fc.sample(others, { numRuns: 20, seed: 1 }).some(takes)) return any;
  const other = others.map((value) => (takes(value) ? value : fitting[0]!));
  return fc.oneof({ weight: 6, arbitrary: any }, { weight: 1, arbitrary: other });
}

class NothingFits extends Error {}

/** Where there are others, one that nothing fits is left out. */
function orNone(make: () => fc.Arbitrary<unknown>): fc.Arbitrary<unknown>[] {
  try {
    return [make()];
  } catch (error) {
    if (error instanceof NothingFits) return [];
    throw error;
  }
}
