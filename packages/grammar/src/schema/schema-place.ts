import { RequestError, type RequestErrorCode } from '@baton/errors';
import type { SchemaObject } from './keywords.ts';

/** Where in a request a part of a schema is, for errors: `response_format.json_schema.schema.properties.a`. */
export class SchemaPlace {
  readonly param: string;

  constructor(param: string) {
    this.param = param;
  }

  at(...keys: (string | number)[]): SchemaPlace {
    return new SchemaPlace(
      keys.reduce<string>(
        (path, key) => path + (typeof key === 'number' ? `[${key}]` : `.${key}`),
        this.param,
      ),
    );
  }

  invalid(message: string): RequestError {
    return this.#error('invalid_value', message);
  }

  unsupported(message: string): RequestError {
    return this.#error('unsupported_value', message);
  }

  /** A keyword's value as an integer of at least 0, or undefined where it is not there. */
  count(schema: SchemaObject, keyword: string): number | undefined {
    const value = schema[keyword];
    if (value === undefined) return undefined;
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw this.at(keyword).invalid('must be an integer of at least 0');
    }
    return value as number;
  }

  #error(code: RequestErrorCode, message: string): RequestError {
    return new RequestError(code, `'${this.param}': ${message}`, this.param);
  }
}
