import { describe, expect, it } from 'vitest';
import { FencedError, NotFoundError, OverloadedError, RequestError } from './errors.ts';
import { errorCodes, outcomeOf } from './outcomes.ts';

describe('outcomes', () => {
  it('answers every code with an error status', () => {
    for (const code of errorCodes) expect(outcomeOf(code).status, code).toBeGreaterThanOrEqual(400);
  });

  it('never retries a job that the client must change, and never fails one that another worker owns', () => {
    expect(outcomeOf(new RequestError('invalid_value', 'no', 'top_p').code).job).toBe('fail');
    expect(outcomeOf(new FencedError('resp_x', 1).code).job).toBe('drop');
  });

  it('names an error after its class and keeps its fields', () => {
    const error = new NotFoundError('model_not_found', 'no such model', 'model');
    expect(error).toMatchObject({
      name: 'NotFoundError',
      code: 'model_not_found',
      param: 'model',
      retryable: false,
    });
    expect(new OverloadedError('overloaded', 'full', 500)).toMatchObject({
      retryAfterMs: 500,
      retryable: true,
    });
  });
});
