// One fixture a kind, one line here.
import { fileFixture } from './file.fixture.ts';
import type { Fixture } from './fixture.ts';

export const fixtures: readonly Fixture[] = [fileFixture];
