export { checkAccess } from './check-access.ts';
export { type Environment, loadEnv } from './load-env.ts';
export { type VariableName, variables } from './variables.ts';
