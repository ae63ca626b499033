export { default } from '../../infra/vitest.base.ts';
