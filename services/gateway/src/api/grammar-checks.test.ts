import type { GrammarSource } from '@baton/protocol';
import { afterAll, describe, expect, it } from 'vitest';
import { GrammarChecks } from './grammar-checks.ts';

const checks = new GrammarChecks();
afterAll(() => checks.close());

const strings = (maxLength: number): GrammarSource => ({
  type: 'json_schema',
  schema: { type: 'string', pattern: `^.{1,${maxLength}}$` },
});

describe('GrammarChecks', () => {
  it('lets the event loop turn while it compiles', async () => {
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    await checks.check('acme', strings(100), 'schema');
    expect(turned).toBe(true);
  });

  it('says each time what is wrong with a schema, and where', async () => {
    for (const _ of [1, 2]) {
      await expect(checks.check('acme', strings(9000), 'text.format.schema')).rejects.toMatchObject({
        name: 'RequestError',
        code: 'unsupported_value',
        param: 'text.format.schema.pattern',
      });
    }
    expect(await checks.passes('acme', strings(9000))).toBe(false);
    expect(await checks.passes('acme', strings(3))).toBe(true);
  });

  it("lets one tenant's schema wait for no more than one of another's", async () => {
    const order: string[] = [];
    const check = async (tenant: string, maxLength: number) => {
      await checks.check(tenant, strings(maxLength), 'schema');
      order.push(tenant);
    };
    // The same one as another tenant's last, too.
    await Promise.all([...[51, 52, 53, 54].map((length) => check('acme', length)), check('lone', 54)]);
    expect(order.indexOf('lone')).toBeLessThanOrEqual(1);
  });

  it('fails the one check that its thread dies of, and compiles those of others', async () => {
    // Not even a grammar: what no request can come to stands for what nobody foresaw.
    const deadly = checks.check('acme', { type: 'json_schema' } as GrammarSource, 'schema');
    const others = ['b', 'c', 'd'].map((tenant) => checks.check(tenant, strings(72), 'schema'));
    await expect(deadly).rejects.toMatchObject({ name: 'ServerError' });
    expect(await Promise.allSettled(others)).toEqual(others.map(() => ({ status: 'fulfilled' })));
  });

  it.each([101, 40_000])('refuses a pattern of %d groups within each other, and names it', async (depth) => {
    const pattern = `^${'('.repeat(depth)}a${')'.repeat(depth)}$`;
    const schema = { type: 'object', properties: { a: { type: 'string', pattern } } };
    await expect(checks.check('acme', { type: 'json_schema', schema }, 's')).rejects.toMatchObject({
      name: 'RequestError',
      message: expect.stringContaining('groups may be nested 100 deep at most'),
      param: 's.properties.a.pattern',
    });
  });
});
