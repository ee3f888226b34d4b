"""Random kills over a whole run: does it still come out, the same, with nothing lost?"""
