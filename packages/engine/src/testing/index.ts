export { byteVocabulary } from './byte-vocabulary.ts';
export { ScriptedEngine, type ScriptedEngineOptions } from './scripted-engine.ts';
