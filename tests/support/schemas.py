"""Says of JSON values whether they are as the shipped schemas say: python3 schemas.py DIRECTORY, {"schema", "value"} a line on standard
input. Prints a line for each fault."""
import json, pathlib, sys

import jsonschema

directory = pathlib.Path(sys.argv[1]).resolve()
validators = {}
for line in sys.stdin:
    asked = json.loads(line)
    name = asked["schema"]
    if name not in validators:
        schema = json.loads((directory / f"{name}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        validators[name] = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for fault in validators[name].iter_errors(asked["value"]):
        why = [f"{one.json_path}: {one.message[:300]}" for one in fault.context] or [fault.message[:300]]
        print(name, fault.json_path, *why)
