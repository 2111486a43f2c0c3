import sys

try:
    import requests
except ImportError:
    sys.exit(77)

name, port = sys.argv[1], sys.argv[2]
requests.get(f"https://{name}/", proxies={"https": f"http://127.0.0.1:{port}"}, timeout=20)
